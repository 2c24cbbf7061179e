curl -F 'f=@/a;type=text/plain;filename="b\"c"' -F 'n="v;1";type=x;headers="a: b"' -F x=y -F 'c=<f' -F z --form-string 's=@;x' https://d.test
