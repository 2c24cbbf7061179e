# c
TOKEN=`cat x` sudo curl -H "A: $TOKEN ${B:-"c"} $(echo "d e" (f))" "https://$HOST/" >out 2>&1 | jq . && curl -d @- https://h.test <<-'EOF' | x
	line 1
	EOF
curl https://i.test <<< "word"; (curl j.test) & echo 'x
$ curl.exe ^"https://w.test^" ^
 -H "x"
/usr/bin/curl \
 k.test
