module ergo-hello

go 1.22

require github.com/ergo-services/ergo v1.999.224
