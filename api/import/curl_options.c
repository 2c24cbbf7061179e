// SPDX-License-Identifier: Apache-2.0
// The options of curl: which of them take a value, and what they say about a request.
#include "api/import/curl_row.h"

#include <string.h>

#define LOST(name)                     \
    {                                  \
        0, name, false, RQCI_CURL_LOST \
    }
#define LOST_L(letter, name)                \
    {                                       \
        letter, name, false, RQCI_CURL_LOST \
    }
#define LOSTV(name)                   \
    {                                 \
        0, name, true, RQCI_CURL_LOST \
    }
#define LOSTV_L(letter, name)              \
    {                                      \
        letter, name, true, RQCI_CURL_LOST \
    }
#define QUIET(letter, name)                  \
    {                                        \
        letter, name, false, RQCI_CURL_QUIET \
    }
#define QUIETV(letter, name)                \
    {                                       \
        letter, name, true, RQCI_CURL_QUIET \
    }

// clang-format off
static const rqci_curl_option options[] = {
    {0, "url", true, RQCI_CURL_URL},
    {'X', "request", true, RQCI_CURL_METHOD},
    {'H', "header", true, RQCI_CURL_HEADER},
    {'d', "data", true, RQCI_CURL_DATA},
    {0, "data-ascii", true, RQCI_CURL_DATA},
    {0, "data-binary", true, RQCI_CURL_DATA_BINARY},
    {0, "data-raw", true, RQCI_CURL_DATA_RAW},
    {0, "data-urlencode", true, RQCI_CURL_DATA_URLENCODE},
    {0, "json", true, RQCI_CURL_JSON},
    {'F', "form", true, RQCI_CURL_FORM},
    {0, "form-string", true, RQCI_CURL_FORM_STRING},
    {'u', "user", true, RQCI_CURL_USER},
    {0, "basic", false, RQCI_CURL_QUIET},
    {0, "oauth2-bearer", true, RQCI_CURL_BEARER},
    {0, "digest", false, RQCI_CURL_OTHER_AUTH},
    {0, "ntlm", false, RQCI_CURL_OTHER_AUTH},
    {0, "ntlm-wb", false, RQCI_CURL_OTHER_AUTH},
    {0, "negotiate", false, RQCI_CURL_OTHER_AUTH},
    {0, "anyauth", false, RQCI_CURL_OTHER_AUTH},
    {0, "aws-sigv4", true, RQCI_CURL_OTHER_AUTH},
    {'b', "cookie", true, RQCI_CURL_COOKIE},
    {'A', "user-agent", true, RQCI_CURL_AGENT},
    {'e', "referer", true, RQCI_CURL_REFERER},
    {'r', "range", true, RQCI_CURL_RANGE},
    {'G', "get", false, RQCI_CURL_GET},
    {'I', "head", false, RQCI_CURL_HEAD},
    {'T', "upload-file", true, RQCI_CURL_UPLOAD},
    {0, "compressed", false, RQCI_CURL_COMPRESSED},
    {0, "url-query", true, RQCI_CURL_URL_QUERY},
    {':', "next", false, RQCI_CURL_NEXT},
    // Where the answer goes, and what is told about it.
    QUIET('s', "silent"), QUIET('S', "show-error"), QUIET('v', "verbose"), QUIET('i', "include"),
    QUIET(0, "show-headers"), QUIET('O', "remote-name"), QUIET(0, "remote-name-all"),
    QUIET('J', "remote-header-name"), QUIET('R', "remote-time"), QUIET('#', "progress-bar"),
    QUIET(0, "progress-meter"), QUIET('f', "fail"), QUIET(0, "fail-with-body"),
    QUIET(0, "fail-early"), QUIET('N', "no-buffer"), QUIET(0, "buffer"), QUIET(0, "clobber"),
    QUIET(0, "styled-output"), QUIET(0, "suppress-connect-headers"), QUIET(0, "create-dirs"),
    QUIET(0, "trace-time"), QUIET(0, "trace-ids"), QUIET(0, "xattr"), QUIET(0, "remove-on-error"),
    QUIET(0, "skip-existing"), QUIET('g', "globoff"), QUIET('q', "disable"),
    QUIET('Z', "parallel"), QUIET(0, "parallel-immediate"), QUIET('h', "help"),
    QUIET('M', "manual"), QUIET('V', "version"), QUIET('j', "junk-session-cookies"),
    QUIETV('o', "output"), QUIETV(0, "output-dir"), QUIETV('w', "write-out"),
    QUIETV('D', "dump-header"), QUIETV('c', "cookie-jar"), QUIETV(0, "stderr"),
    QUIETV(0, "trace"), QUIETV(0, "trace-ascii"), QUIETV(0, "trace-config"),
    QUIETV(0, "libcurl"), QUIETV(0, "create-file-mode"), QUIETV(0, "parallel-max"),
    // How it is sent.
    LOST_L('a', "append"), LOST(  "ca-native"), LOST("cert-status"), LOST("compressed-ssh"),
    LOST("crlf"), LOST("disable-eprt"), LOST("disable-epsv"), LOST("disallow-username-in-url"),
    LOST("doh-cert-status"), LOST("doh-insecure"), LOST("false-start"), LOST("form-escape"),
    LOST("ftp-create-dirs"), LOST("ftp-pasv"), LOST("ftp-pret"), LOST("ftp-skip-pasv-ip"),
    LOST("ftp-ssl-ccc"), LOST("ftp-ssl-control"), LOST("haproxy-protocol"), LOST("http0.9"),
    LOST_L('0', "http1.0"), LOST("http1.1"), LOST("http2"), LOST("http2-prior-knowledge"),
    LOST("http3"), LOST("http3-only"), LOST("ignore-content-length"), LOST_L('k', "insecure"),
    LOST_L('4', "ipv4"), LOST_L('6', "ipv6"), LOST("keepalive"), LOST_L('l', "list-only"),
    LOST_L('L', "location"), LOST("location-trusted"), LOST("metalink"), LOST("mptcp"),
    LOST_L('n', "netrc"), LOST("netrc-optional"), LOST("alpn"), LOST("npn"), LOST("sessionid"),
    LOST("path-as-is"), LOST("post301"), LOST("post302"), LOST("post303"), LOST("proxy-anyauth"),
    LOST("proxy-basic"), LOST("proxy-ca-native"), LOST("proxy-digest"), LOST("proxy-http2"),
    LOST("proxy-insecure"), LOST("proxy-negotiate"), LOST("proxy-ntlm"),
    LOST("proxy-ssl-allow-beast"), LOST("proxy-ssl-auto-client-cert"), LOST("proxy-tlsv1"),
    LOST_L('p', "proxytunnel"), LOST("raw"), LOST("retry-all-errors"), LOST("retry-connrefused"),
    LOST("sasl-ir"), LOST("socks5-basic"), LOST("socks5-gssapi"), LOST("socks5-gssapi-nec"),
    LOST("ssl"), LOST("ssl-allow-beast"), LOST("ssl-auto-client-cert"), LOST("ssl-no-revoke"),
    LOST("ssl-reqd"), LOST("ssl-revoke-best-effort"), LOST_L('2', "sslv2"), LOST_L('3', "sslv3"),
    LOST("tcp-fastopen"), LOST("tcp-nodelay"), LOST("tftp-no-options"), LOST_L('1', "tlsv1"),
    LOST("tlsv1.0"), LOST("tlsv1.1"), LOST("tlsv1.2"), LOST("tlsv1.3"), LOST("tr-encoding"),
    LOST_L('B', "use-ascii"),
    LOSTV("abstract-unix-socket"), LOSTV("alt-svc"), LOSTV("cacert"), LOSTV("capath"),
    LOSTV_L('E', "cert"), LOSTV("cert-type"), LOSTV("ciphers"), LOSTV_L('K', "config"),
    LOSTV("connect-timeout"), LOSTV("connect-to"), LOSTV_L('C', "continue-at"), LOSTV("crlfile"),
    LOSTV("curves"), LOSTV("delegation"), LOSTV("dns-interface"), LOSTV("dns-ipv4-addr"),
    LOSTV("dns-ipv6-addr"), LOSTV("dns-servers"), LOSTV("doh-url"), LOSTV("ech"),
    LOSTV("egd-file"), LOSTV("engine"), LOSTV("etag-compare"), LOSTV("etag-save"),
    LOSTV("expect100-timeout"), LOSTV("ftp-account"), LOSTV("ftp-alternative-to-user"),
    LOSTV("ftp-method"), LOSTV_L('P', "ftp-port"), LOSTV("ftp-ssl-ccc-mode"),
    LOSTV("happy-eyeballs-timeout-ms"), LOSTV("haproxy-clientip"), LOSTV("hostpubmd5"),
    LOSTV("hostpubsha256"), LOSTV("hsts"), LOSTV("interface"), LOSTV("ip-tos"),
    LOSTV("ipfs-gateway"), LOSTV("keepalive-cnt"), LOSTV("keepalive-time"), LOSTV("key"),
    LOSTV("key-type"), LOSTV("krb"), LOSTV("limit-rate"), LOSTV("local-port"),
    LOSTV("login-options"), LOSTV("mail-auth"), LOSTV("mail-from"), LOSTV("mail-rcpt"),
    LOSTV("max-filesize"), LOSTV("max-redirs"), LOSTV_L('m', "max-time"), LOSTV("netrc-file"),
    LOSTV("noproxy"), LOSTV("pass"), LOSTV("pinnedpubkey"), LOSTV("preproxy"), LOSTV("proto"),
    LOSTV("proto-default"), LOSTV("proto-redir"), LOSTV_L('x', "proxy"), LOSTV("proxy-cacert"),
    LOSTV("proxy-capath"), LOSTV("proxy-cert"), LOSTV("proxy-cert-type"), LOSTV("proxy-ciphers"),
    LOSTV("proxy-crlfile"), LOSTV("proxy-header"), LOSTV("proxy-key"), LOSTV("proxy-key-type"),
    LOSTV("proxy-pass"), LOSTV("proxy-pinnedpubkey"), LOSTV("proxy-service-name"),
    LOSTV("proxy-tls13-ciphers"), LOSTV("proxy-tlsauthtype"), LOSTV("proxy-tlspassword"),
    LOSTV("proxy-tlsuser"), LOSTV_L('U', "proxy-user"), LOSTV("proxy1.0"), LOSTV("pubkey"),
    LOSTV_L('Q', "quote"), LOSTV("random-file"), LOSTV("rate"), LOSTV("request-target"),
    LOSTV("resolve"), LOSTV("retry"), LOSTV("retry-delay"), LOSTV("retry-max-time"),
    LOSTV("sasl-authzid"), LOSTV("service-name"), LOSTV("socks4"), LOSTV("socks4a"),
    LOSTV("socks5"), LOSTV("socks5-gssapi-service"), LOSTV("socks5-hostname"),
    LOSTV_L('Y', "speed-limit"), LOSTV_L('y', "speed-time"), LOSTV_L('t', "telnet-option"),
    LOSTV("tftp-blksize"), LOSTV_L('z', "time-cond"), LOSTV("tls-max"), LOSTV("tls13-ciphers"),
    LOSTV("tlsauthtype"), LOSTV("tlspassword"), LOSTV("tlsuser"), LOSTV("unix-socket"),
    LOSTV("variable"), LOSTV("vlan-priority"),
};
// clang-format on
#define NOPTIONS (sizeof options / sizeof *options)

const rqci_curl_option *rqci_curl_option_letter(char letter)
{
    for (size_t i = 0; letter && i < NOPTIONS; i++)
        if (options[i].letter == letter)
            return &options[i];
    return NULL;
}

const rqci_curl_option *rqci_curl_option_name(const char *name, size_t len)
{
    const rqci_curl_option *found = NULL;
    size_t n = 0;
    for (size_t i = 0; i < NOPTIONS && len > 0; i++) {
        if (strncmp(options[i].name, name, len) != 0)
            continue;
        if (strlen(options[i].name) == len)
            return &options[i];
        found = &options[i];
        n++;
    }
    return n == 1 ? found : NULL;
}
