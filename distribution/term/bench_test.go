package term

import "testing"

func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"rpc", "config", "map_33"} {
		src := captured(b)[name]
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Decode(src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range []string{"rpc", "config", "map_33"} {
		t, _, err := Decode(captured(b)[name])
		if err != nil {
			b.Fatal(err)
		}
		var buf []byte
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if buf, err = Append(buf[:0], t); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
