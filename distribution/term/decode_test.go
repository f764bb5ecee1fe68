package term

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// captured is what term_to_binary of OTP 25 wrote, by name.
func captured(t testing.TB) map[string][]byte {
	t.Helper()
	f, err := os.Open("testdata/otp25.hex")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string][]byte{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, digits, _ := strings.Cut(lines.Text(), " ")
		if all[name], err = hex.DecodeString(digits); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDecodeCaptured(t *testing.T) {
	longAtom := "'" + strings.Repeat("日", 255) + "'"
	want := map[string]string{
		"atom": "ok", "atom_empty": "''", "atom_utf8": "'日本é'", "atom_long": longAtom, "atom_latin1": "'é'",
		"int_0": "0", "int_255": "255", "int_256": "256", "int_minus1": "-1",
		"int_max32": "2147483647", "int_over32": "2147483648", "int_min32": "-2147483648", "int_under32": "-2147483649",
		"int_max64": "9223372036854775807", "int_min64": "-9223372036854775808",
		"int_over64": "9223372036854775808", "int_under64": "-9223372036854775809",
		"float": "1.5", "float_text": "-1.5e-300", "float_zero": "0.0", "float_min": "5.0e-324", "float_max": "1.7976931348623157e308",
		"tuple_empty": "{}", "nil": "[]", "string": `"abc"`, "list_wide": `"Āa"`, "list_improper": "[a,b|c]",
		"list_chars_improper": "[1,2|3]", "list_nested": "[[],[[]],[a,b]]",
		"binary": `<<"abc">>`, "binary_empty": "<<>>", "bits": "<<5:3>>", "bits_long": "<<1,2,127:7>>",
		"map_empty": "#{}", "map": `#{1 => one,1.0 => one,a => 1,{d} => #{e => f},"b" => <<"c">>}`,
		"pid": "<nonode@nohost.9.0>", "port": "#Port<nonode@nohost.0>", "pid_far": "<a@far.9.1>", "port_far": "#Port<a@far.1099511627776>",
		"ref_far": "#Ref<a@far.1.2.3.4.5>", "export": "fun lists:map/2", "fun": "fun erlang:node/0", "closure": "#Fun<85 bytes>",
		"config": `[{kernel,[{inet_dist_listen_min,9100},{logger_level,info}]},{app,[{url,<<"https://x/y">>},debug]}]`,
	}
	all := captured(t)
	for name, text := range want {
		got, rest, err := Decode(all[name])
		if err != nil || len(rest) > 0 {
			t.Errorf("%s: %v, rest %x", name, err, rest)
			continue
		}
		if Format(got) != text {
			t.Errorf("%s: got %s, want %s", name, Format(got), text)
		}
	}
}

// Terms that erl wrote in the tags of OTP 25 come out of Encode byte for byte.
func TestEncodeAsCaptured(t *testing.T) {
	for name, b := range captured(t) {
		switch name {
		case "atom_latin1", "float_text", "compressed":
			continue // forms that are read and not written
		}
		got, _, err := Decode(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := Encode(got)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: written as %x (%v), erl wrote %x", name, again, err, b)
		}
	}
}

// Tags that OTP 25 no longer writes, from the descriptions in erl_ext_dist.
func TestDecodeOldTags(t *testing.T) {
	tests := []struct{ name, bytes, want string }{
		{"SMALL_ATOM_EXT", "837302e9e8", "'éè'"},
		{"ATOM_UTF8_EXT", "8376000161", "a"},
		{"PID_EXT", "8367770161000000010000000203", "<a.1.2>"},
		{"PORT_EXT", "83667701610000000903", "#Port<a.9>"},
		{"REFERENCE_EXT", "83657701610000000903", "#Ref<a.9>"},
		{"NEW_REFERENCE_EXT", "837200027701610300000001" + "00000002", "#Ref<a.1.2>"},
		{"SMALL_BIG_EXT padded", "836e03010500" + "00", "-5"},
		{"SMALL_BIG_EXT of nothing", "836e0001", "0"},
		{"STRING_EXT of nothing", "836b0000", "[]"},
		{"BIT_BINARY_EXT of whole bytes", "834d0000000108ff", "<<255>>"},
		{"BIT_BINARY_EXT with dirt", "834d0000000103ff", "<<7:3>>"},
		{"LIST_EXT in the tail", "836c0000000161016c0000000161026a", "[1,2]"},
		{"STRING_EXT in the tail", "836c0000000161616b00026263", `"abc"`},
	}
	for _, tt := range tests {
		b, err := hex.DecodeString(tt.bytes)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got, rest, err := Decode(b)
		if err != nil || len(rest) > 0 || Format(got) != tt.want {
			t.Errorf("%s: %v, %v, rest %x; want %s", tt.name, got, err, rest, tt.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ name, bytes, want string }{
		{"nothing", "", "no bytes"},
		{"version", "82", "version 130, expected 131"},
		{"version only", "83", "cut short"},
		{"unknown tag", "83ff", "unknown tag 255"},
		{"LOCAL_EXT", "8379", "LOCAL_EXT"},
		{"FUN_EXT", "8375", "FUN_EXT"},
		{"ATOM_CACHE_REF", "8352", "atom cache"},
		{"compressed", "8350000000", "compressed terms are not accepted"},
		{"compressed inside", "83680150", "compressed term inside"},
		{"short integer", "8362000000", "cut short"},
		{"short float", "834600", "cut short"},
		{"NaN", "83467ff8000000000001", "finite"},
		{"infinity", "83467ff0000000000000", "finite"},
		{"text float", "8363" + strings.Repeat("41", 31), "not a number"},
		{"text infinity", "8363" + hex.EncodeToString([]byte("inf")) + strings.Repeat("00", 28), "finite"},
		{"atom not UTF-8", "837702c8c8", "not UTF-8"},
		{"atom too long", "83640100" + strings.Repeat("61", 256), "256 characters"},
		{"atom too long in UTF-8", "83760100" + strings.Repeat("61", 256), "256 characters"},
		{"tuple without elements", "8368ff", "cut short"},
		{"tuple announces 4G", "8369ffffffff", "cut short"},
		{"list announces 2G", "836c7fffffff", "cut short"},
		{"map announces 2G", "83747fffffff", "cut short"},
		{"binary announces 4G", "836dffffffff", "cut short"},
		{"string announces 64k", "836bffff", "cut short"},
		{"list without a tail", "836c000000016101", "cut short"},
		{"list of only a tail", "836c000000006101", "no elements"},
		{"big integer", "836f7fffffff00", "integer of 2147483647 bytes"},
		{"key twice", "83740000000261016101" + "61016102", "key twice"},
		{"key twice in two encodings", "83740000000261016101" + "62000000016102", "key twice"},
		{"bits without bytes", "834d0000000003", "bitstring of 0 bytes"},
		{"nine bits", "834d0000000109ff", "uses 9 bits"},
		{"pid of a number", "83586101", "node's name"},
		{"reference of no words", "835a0000770161", "reference of 0 words"},
		{"reference of six words", "835a0006770161", "reference of 6 words"},
		{"export of numbers", "837161016101", "node's name"},
		{"short fun", "8370000000010000", "cut short"},
	}
	for _, tt := range tests {
		b, err := hex.DecodeString(tt.bytes)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got, rest, err := Decode(b)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %q", tt.name, err, tt.want)
		}
		if got != nil || rest != nil {
			t.Errorf("%s: %v and %x beside an error", tt.name, got, rest)
		}
	}
}

// Every cut of a captured term is an error, and none a panic.
func TestDecodeCut(t *testing.T) {
	for name, b := range captured(t) {
		for n := range b {
			if got, _, err := (Limits{Inflated: 1 << 20}).Decode(b[:n]); err == nil {
				t.Errorf("%s cut to %d bytes: read %s", name, n, Format(got))
			}
		}
	}
}

func TestDecodeCopies(t *testing.T) {
	for name, b := range captured(t) {
		got, _, err := (Limits{Inflated: 1 << 20}).Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		before, _ := Encode(got)
		clear(b)
		if after, _ := Encode(got); !bytes.Equal(before, after) {
			t.Errorf("%s changes with the bytes that it was read from", name)
		}
	}
}
