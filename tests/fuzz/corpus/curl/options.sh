curl -X PUT -u me:pw -d a=1 -d 'b=2 3' -A ua -e ref;auto http://b.test
curl -G --data-urlencode 'q=a b&c' --data-urlencode '=x y' --data-urlencode n@f --url-query '+a=b' https://c.test/#frag
curl -sSLXPATCH -H 'Content-Type: application/json' -H Empty; -H 'Gone:' -H @f -d @f i.test --next -I --json '{}' -r 0-5 j.test k.test --oauth2-bearer t --no-alpn --frob x --expand-url '{{v}}' -T f
