curl 'https://a.test/x?q=1%202&b=c' \
  -H 'Accept: */*' \
  -H $'X: \u00e9\'\n\x41\101\uD83D\uDE00' \
  -b 'a=b; c=d' \
  --data-raw $'{"a":"\u0000"}' \
  --compressed --insecure
