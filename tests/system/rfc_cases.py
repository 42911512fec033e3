# SPDX-License-Identifier: MIT
"""The measure of HTTP conformance: a table of cases by clause, for an origin server.

RFC 9112 (HTTP/1.1) sections 2 to 9, RFC 9110 (HTTP semantics) sections 5 to 10 and 15. Every
MUST and SHOULD (NOT) that an origin server can meet has a row or more; test_rfc.py runs each row
four ways. A row that gcorn or llhttp 8.1 cannot meet is marked exception="why" and says what
happens instead; test_rfc.py knows their list. What holds for every answer (Date, framing, the
announcement of a close ...) is not in rows, but checked on each answer of each row: see
check_every_answer in test_rfc.py.

    case(clause, what is required, what is sent, *answers)

What is sent: the bytes of one or more requests; a tuple is sent part by part, each but the first
after one more answer. Answers: seen() is a 200 of the environ example and what it must have seen,
made() one of the little application of test_rfc.py (paths /made?...), refused() one of the server
itself, after which the connection is closed and nothing more answered. Unless an answer closes,
closes=True or fin=True is said (the client ends its side), the connection must stay open and in
step: a further request is answered.

Decided where the RFCs leave a choice: bare LF and obs-fold are refused; a few CRLFs before a
request line are skipped; Content-Length with Transfer-Encoding, a list or a repetition in
Content-Length, a repeated Content-Type are refused; names with '_' do not reach the application;
an expectation other than 100-continue is 417; CONNECT is 501; trailers stay apart
from the head, and those of RFC 9110 6.5.1 are refused.
"""
from dataclasses import dataclass


# Sections that ask nothing of an origin server, and why.
NOT_APPLICABLE = {
    "9112 3.2.3": "authority-form is for CONNECT: see the rows of 9110 9.3.6",
    "9112 7.3": "IANA's registry",
    "9112 9.1": "how clients reach servers",
    "9112 9.3.1": "retries are the client's",
    "9112 9.4": "how many connections clients open",
    "9112 9.7": "TLS is the proxy's in front",
    "9112 9.8": "TLS is the proxy's in front",
    "9110 5.6.1.1": "lists in what is sent: the server sends none",
    "9110 5.6.5": "comments stand in fields that the server does not read",
    "9110 6.6.2": "the client's Trailer is only a hint; the server's: see test_trailers.py",
    "9110 7.3.1": "caches",
    "9110 7.3.2": "proxies",
    "9110 7.3.3": "clients",
    "9110 7.6.2": "intermediaries",
    "9110 7.6.3": "intermediaries",
    "9110 7.7": "intermediaries",
    "9110 8.1": "what a representation is",
    "9110 8.2": "what a representation is",
    "9110 8.5": "the application's",
    "9110 8.7": "the application's",
    "9110 8.8": "validators are the application's",
    "9110 9.2.1": "safety is the application's",
    "9110 9.2.2": "idempotency is the application's",
    "9110 9.2.3": "caching is the application's",
    "9110 10.1.2": "From is the application's to read",
    "9110 10.1.3": "Referer is the application's to read",
    "9110 10.1.5": "User-Agent is the application's to read",
    "9110 10.2.2": "Location is the application's",
    "9110 10.2.3": "Retry-After is the application's",
    "9110 15.2.2": "101: the server switches to nothing, see 9110 7.8",
    "9110 15.3.7": "206 is the application's; the server reads no Range",
    "9110 15.5.9": "408: takes its time, see test_serving.py",
    "9110 15.6.4": "503: for a worker that stops, see test_master.py",
    "9110 15.6.5": "504: gateways",
    **{f"9110 15.3.{n}": "the application's" for n in (2, 3, 4)},
    **{f"9110 15.4.{n}": "the application's" for n in (1, 2, 3, 4, 6, 7, 8, 9)},
    **{f"9110 15.5.{n}": "the application's" for n in
       (2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 16, 17, 19, 21)},
    "9110 15.6.3": "502: gateways",
}

# Every section of the two ranges has a row or stands above.
SECTIONS = (
    [f"9112 {s}" for s in (
        "2.1 2.2 2.3 3 3.1 3.2 3.2.1 3.2.2 3.2.3 3.2.4 3.3 4 5 5.1 5.2 6 6.1 6.2 6.3 7 7.1 7.1.1 "
        "7.1.2 7.1.3 7.2 7.3 7.4 8 9.1 9.2 9.3 9.3.1 9.3.2 9.4 9.5 9.6 9.7 9.8").split()]
    + [f"9110 {s}" for s in (
        "5.1 5.2 5.3 5.4 5.5 5.6.1.1 5.6.1.2 5.6.2 5.6.3 5.6.4 5.6.5 5.6.6 5.6.7 6.1 6.2 6.3 6.4 "
        "6.4.1 6.5 6.5.1 6.6.1 6.6.2 7.1 7.2 7.3.1 7.3.2 7.3.3 7.4 7.5 7.6.1 7.6.2 7.6.3 7.7 7.8 "
        "8.1 8.2 8.3 8.4 8.5 8.6 8.7 8.8 9.1 9.2.1 9.2.2 9.2.3 9.3.1 9.3.2 9.3.3 9.3.4 9.3.5 "
        "9.3.6 9.3.7 9.3.8 10.1.1 10.1.2 10.1.3 10.1.4 10.1.5 10.2.1 10.2.2 10.2.3 10.2.4 "
        "15.1 15.2 15.2.1 15.2.2 15.5 15.6").split()]
    + [f"9110 15.{group}.{n}" for group, last in ((3, 7), (4, 9), (5, 22), (6, 6))
       for n in range(1, last + 1)])


@dataclass(frozen=True)
class Answer:
    status: tuple
    lines: tuple = ()      # of the environ example, all of them there
    hidden: tuple = ()     # beginnings of such lines, none of them there
    body: bytes = None     # the request's, as the environ example saw it; None: not its answer
    content: bytes = None  # the answer's
    says: str = ""         # in the answer's content
    has: tuple = ()        # (field, value) pairs; value None: any
    lacks: tuple = ()      # fields
    to_head: bool = False
    closes: bool = False
    own: bool = False      # made by the server, not by an application
    may_miss: bool = False


@dataclass(frozen=True)
class Case:
    clause: str
    says: str
    sends: tuple
    answers: tuple
    closes: bool
    fin: bool
    exception: str
    bare: bool  # nothing is sent behind it: what it ends in is open

    @property
    def name(self):
        return f"{self.clause}: {self.says}"


CASES = []


def case(clause, says, sends, *answers, closes=None, fin=False, exception=None, bare=False):
    if closes is None:
        closes = fin or any(a.closes for a in answers)
    CASES.append(Case(clause, says, sends if isinstance(sends, tuple) else (sends,), answers,
                      closes, fin, exception, bare))


# ---- requests and answers -----------------------------------------------------------------------


def req(line, *fields, body=b"", host="Host: h"):
    lines = [line, *([host] if host is not None else []), *fields]
    return b"\r\n".join(x if isinstance(x, bytes) else x.encode() for x in lines) + \
        b"\r\n\r\n" + body


def get(*fields, to="/", **options):
    return req(f"GET {to} HTTP/1.1", *fields, **options)


def head(to="/"):
    return req(f"HEAD {to} HTTP/1.1")


def post(body, *fields, **options):
    return req("POST / HTTP/1.1", f"Content-Length: {len(body)}", *fields, body=body, **options)


def chunked(body, *fields, coding="chunked", **options):
    return req("POST / HTTP/1.1", f"Transfer-Encoding: {coding}", *fields, body=body, **options)


def seen(*lines, body=b"", **options):
    return Answer((200,), lines=lines, body=body, **options)


def made(status, **options):
    return Answer((status,), **options)


def refused(*status, **options):
    return Answer(status or (400,), closes=True, own=True, **options)


CONTINUE = Answer((100,), own=True)
PERHAPS_CONTINUE = Answer((100,), own=True, may_miss=True)
FIVE = b"5\r\nhello\r\n"
LAST = b"0\r\n\r\n"

# ==== RFC 9112 ===================================================================================
# ---- 2.1 Message format -------------------------------------------------------------------------

case("9112 2.1", "start line, fields, empty line", get("X-A: 1"),
     seen("METHOD GET", "PATH /", "QUERY ", "PROTOCOL HTTP/1.1", "HEADER HTTP_HOST=h",
          "HEADER HTTP_X_A=1"))
case("9112 2.1", "a body of any octets", post(bytes(range(256))), seen(body=bytes(range(256))))
case("9112 2.1", "no fields at all, in 1.0", b"GET / HTTP/1.0\r\n\r\n",
     seen("PROTOCOL HTTP/1.0"), closes=True)
case("9112 2.1", "a head that ends in a line with blanks has not ended",
     b"GET / HTTP/1.1\r\nHost: h\r\n  \r\n\r\n", refused())

# ---- 2.2 Message parsing ------------------------------------------------------------------------

case("9112 2.2", "octets, not characters: obs-text is a byte each",
     get(b"X-A: \xe5\x98\x8a\xff\x80"),
     seen("HEADER HTTP_X_A=\xe5\x98\x8a\xff\x80"))
case("9112 2.2", "a UTF-8 form of LF is not LF", get(b"X-A: a\xc0\x8ab: 1"),
     seen("HEADER HTTP_X_A=a\xc0\x8ab: 1"))
case("9112 2.2", "U+010A is not LF", get(b"X-A: a\xc4\x8aX-B: b"),
     seen("HEADER HTTP_X_A=a\xc4\x8aX-B: b", hidden=("HEADER HTTP_X_B",)))
case("9112 2.2", "U+2028 and NEL do not end lines", get(b"X-A: a\xe2\x80\xa8b\x85c"),
     seen("HEADER HTTP_X_A=a\xe2\x80\xa8b\x85c"))
case("9112 2.2", "bare LF after the request line", b"GET / HTTP/1.1\nHost: h\r\n\r\n", refused())
case("9112 2.2", "bare LF after a field", b"GET / HTTP/1.1\r\nHost: h\nX: a\r\n\r\n", refused())
case("9112 2.2", "bare LF as the empty line", b"GET / HTTP/1.1\r\nHost: h\r\n\n", refused())
case("9112 2.2", "bare LF throughout", b"GET / HTTP/1.1\nHost: h\n\n", refused())
case("9112 2.2", "bare LF after the empty line's place", b"GET / HTTP/1.1\r\nHost: h\n\r\n",
     refused())
case("9112 2.2", "LF CR is no line end", b"GET / HTTP/1.1\n\rHost: h\n\r\n\r", refused())
for place, raw in {
        "in the method": b"GE\rT / HTTP/1.1\r\nHost: h\r\n\r\n",
        "after the method": b"GET\r/ HTTP/1.1\r\nHost: h\r\n\r\n",
        "in the target": b"GET /a\rb HTTP/1.1\r\nHost: h\r\n\r\n",
        "in the version": b"GET / HTTP/1\r.1\r\nHost: h\r\n\r\n",
        "before the request line's end": b"GET / HTTP/1.1\r\r\nHost: h\r\n\r\n",
        "as the request line's end": b"GET / HTTP/1.1\rHost: h\r\n\r\n",
        "in a field name": get("X\rA: 1"),
        "after a field name": get("X-A\r: 1"),
        "after the colon": get("X-A:\r1"),
        "in a value": get("X-A: 1\r2"),
        "in a value, before what looks like a field": get("X-A: 1\rX-B: 2"),
        "at the end of a value": get("X-A: 1\r"),
        "as an empty value": get("X-A: \r"),
        "as a field's end, Transfer-Encoding behind": get("X-A:\rTransfer-Encoding: chunked"),
        "before the empty line": b"GET / HTTP/1.1\r\nHost: h\r\n\r\r\n",
        "as the empty line": b"GET / HTTP/1.1\r\nHost: h\r\n\rX",
}.items():
    case("9112 2.2", f"bare CR {place}", raw, refused())
case("9112 2.2", "bare CR in a body is data", post(b"a\rb\nc"), seen(body=b"a\rb\nc"))
case("9112 2.2", "one CRLF before the request line", b"\r\n" + get(to="/p"), seen("PATH /p"))
case("9112 2.2", "some CRLFs before the request line", b"\r\n\r\n\r\n" + get(to="/p"),
     seen("PATH /p"))
case("9112 2.2", "a CRLF between pipelined requests", get(to="/1") + b"\r\n" + get(to="/2"),
     seen("PATH /1"), seen("PATH /2"))
case("9112 2.2", "a CRLF after a body (old clients add one)", post(b"abc") + b"\r\n" + get(to="/2"),
     seen(body=b"abc"), seen("PATH /2"))
case("9112 2.2", "a CRLF after a chunked body", chunked(FIVE + LAST) + b"\r\n" + get(to="/2"),
     seen(body=b"hello"), seen("PATH /2"))
case("9112 2.2", "a bare CR before the request line", b"\r" + get(), refused())
case("9112 2.2", "a bare LF before the request line", b"\n" + get(), refused())
case("9112 2.2", "a blank before the request line", b" " + get(), refused())
case("9112 2.2", "a line of blanks before the request line", b" \r\n" + get(), refused())
for name, blank in {"SP": b" ", "HTAB": b"\t", "SP SP": b"  "}.items():
    case("9112 2.2", f"{name} between the start line and the first field",
         b"GET / HTTP/1.1\r\n" + blank + b"Host: h\r\n\r\n", refused())
    case("9112 2.2", f"a first line of {name} alone",
         b"GET / HTTP/1.1\r\n" + blank + b"\r\nHost: h\r\n\r\n", refused())
case("9112 2.2", "a blank before the first field that frames the body",
     b"POST / HTTP/1.1\r\n Content-Length: 5\r\nHost: h\r\n\r\nhello", refused())
for what, raw in {
        "TLS": b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03\r\n\r\n",
        "NULs": b"\0\0\0\0\r\n\r\n",
        "SMTP": b"EHLO example.org\r\n\r\n",
        "a response": b"HTTP/1.1 200 OK\r\nHost: h\r\n\r\n",
        "a field alone": b"Host: h\r\n\r\n",
        "a word": b"hello\r\n\r\n",
        "high octets": b"\xff\xfe\xfd\xfc / HTTP/1.1\r\nHost: h\r\n\r\n",
        "JSON": b"{\"a\": 1}\r\n\r\n",
        "a PROXY preface nobody asked for": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get(),
        "Redis": b"*1\r\n$4\r\nPING\r\n\r\n",
        "a UTF-8 byte order mark": b"\xef\xbb\xbf" + get(),
}.items():
    case("9112 2.2", f"not HTTP is 400 and closed: {what}", raw, refused())

# ---- 2.3 HTTP version ---------------------------------------------------------------------------

for text in ("http/1.1", "Http/1.1", "HTTP/1,1", "HTTP/1.10", "HTTP/01.1", "HTTP/1.", "HTTP/.1",
             "HTTP/1", "HTTP/11", "HTTP/", "HTTP", "HTTPS/1.1", "HTTP/1.1x", "HTTP/a.b", "HTTP-1.1",
             "HTTP/1.-1", "HTTP/-1.1", "HTTP/+1.1", "HTTP /1.1", "HTTP/ 1.1", "HTTP/1 .1",
             "XTTP/1.1",
             "RTSP/1.0", "ICE/1.0", "HTTP/1.1\0", "HTTP/1.1\x0b"):
    case("9112 2.3", f"not a version: {text!r}", req(f"GET / {text}"), refused())
case("9112 2.3", "an answer to 1.0 says 1.1 and can be read as 1.0", b"GET / HTTP/1.0\r\n\r\n",
     seen(has=(("Content-Length", None),), lacks=("Transfer-Encoding",)), closes=True)

# ---- 3 Request line -----------------------------------------------------------------------------

for what, line in {
        "no version": "GET /", "no target": "GET HTTP/1.1", "a method alone": "GET",
        "two blanks after the method": "GET  / HTTP/1.1",
        "two blanks after the target": "GET /  HTTP/1.1",
        "a blank at the end": "GET / HTTP/1.1 ", "a blank at the front": " GET / HTTP/1.1",
        "an HTAB after the method": "GET\t/ HTTP/1.1",
        "an HTAB after the target": "GET /\tHTTP/1.1",
        "an HTAB at the end": "GET / HTTP/1.1\t", "a VT after the method": "GET\x0b/ HTTP/1.1",
        "a FF after the target": "GET /\x0cHTTP/1.1",
        "a blank in the target": "GET /a b HTTP/1.1",
        "a blank in the query": "GET /a?b c HTTP/1.1",
        "an HTAB in the target": "GET /a\tb HTTP/1.1", "four parts": "GET / HTTP/1.1 HTTP/1.1",
        "an empty target": "GET  HTTP/1.1", "a blank alone": " ",
}.items():
    case("9112 3", f"invalid request line is 400, not mended: {what}", req(line), refused())
case("9112 3", "a request line of 4,000 octets", get(to="/" + "a" * 3980),
     seen("PATH /" + "a" * 3980))
case("9112 3", "a request line of 8,000 octets", get(to="/" + "a" * 7985), refused(414),
     exception="limit_request_line is 4,094 by default, as gunicorn's; 8,000 are recommended")

# ---- 3.1 Method ---------------------------------------------------------------------------------

for method in ("get", "Get", "GETT", "GE", "post", "A", "FOO", "X-Y", "M", "BREW", "0", "a.b~c",
               "!#$%&'*+-.^_`|~09azAZ"):
    case("9112 3.1", f"methods have a case; an unknown one is the application's: {method}",
         req(f"{method} / HTTP/1.1"), seen(f"METHOD {method}"))
case("9112 3.1", "a method of 32 octets", req("A" * 32 + " / HTTP/1.1"), seen("METHOD " + "A" * 32))
case("9112 3", "a method longer than any that the server implements is 501",
     req("A" * 33 + " / HTTP/1.1"), refused(501))
case("9112 3.1", "a known method with a tail is another", req("POSTS / HTTP/1.1"),
     seen("METHOD POSTS"))
for method in ("G(T", "G@T", "G\"T", "GET/", "GET:", "{GET}", "G\x01T", "G\x7fT", "GET,", "[GET]",
               "GÉT", "G\\T", "G;T", "G<T", "G=T", "G?T"):
    case("9112 3.1", f"a method is a token: {method!r}", req(f"{method} / HTTP/1.1"), refused())

# ---- 3.2 Request target, Host -------------------------------------------------------------------

case("9112 3.2", "no Host in 1.1", get(host=None), refused())
case("9112 3.2", "no Host in 1.1, with other fields", get("X-Host: h", "Hosts: h", host=None),
     refused())
case("9112 3.2", "two Hosts, alike", get("Host: h"), refused())
case("9112 3.2", "two Hosts, different", get("Host: i"), refused())
case("9112 3.2", "two Hosts, one of them empty", get("Host:"), refused())
case("9112 3.2", "two Hosts, written differently", get("hOST: h"), refused())
case("9112 3.2", "two Hosts, others between", get("X-A: 1", "X-B: 2", "HOST: i"), refused())
case("9112 3.2", "two Hosts in 1.0", b"GET / HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n", refused())
for value in ("a b", "h, h", "a/b", "h/", "a?b", "a#b", "u@h", "u:p@h", "http://h", "//h",
              "h:8a", "h:80:80", "h: 80", "h :80", "h:-1", "h:+80", "[::1", "::1]", "::1", "[::1]x",
              "[::1]80", "[]", "[zz]", "[:::1]", "[1.2.3.4]", "[1:2:3:4:5:6:7:8:9]", "[v.x]",
              "[vx]",
              "a\\b", "%zz", "a%4", "a%", ":80", "a\"b", "<a>", "a|b", "a^b", "{a}", "`a`", "a\tb"):
    case("9112 3.2", f"an invalid Host: {value!r}", get(host=f"Host: {value}"), refused())
case("9112 3.2", "a Host of obs-text", get(host=b"Host: h\xe9"), refused())
case("9112 3.2", "an invalid Host in 1.0", b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", refused())
case("9112 3.2", "an invalid Host beside an absolute target", get(to="http://h/", host="Host: a b"),
     refused())
for value in ("h", "h:80", "h:", "EXAMPLE.org", "example.org.", "127.0.0.1:8000", "[::1]",
              "[::1]:80",
              "[2001:db8::7:8]", "[::ffff:1.2.3.4]:8080", "[v1.a:b]", "a_b", "a-b.c~d", "a%41", "1",
              "!$&'()*+,;=", "a,b"):
    case("9112 3.2", f"a valid Host: {value!r}", get(host=f"Host: {value}"),
         seen(f"HEADER HTTP_HOST={value}"))
case("9112 3.2", "an empty Host is valid", get(host="Host:"), seen("HEADER HTTP_HOST="))
case("9112 3.2", "a Host after other fields", get("X-A: 1", "Host: h", host=None),
     seen("HEADER HTTP_HOST=h"))
case("9112 3.2", "an unfinished escape in the path", get(to="/a%4"), refused())
case("9112 3.2", "an escape that is not hex", get(to="/a%zzb"), refused())
case("9112 3.2", "a percent sign alone", get(to="/100%"), refused())
case("9112 3.2", "%00 in the path", get(to="/a%00b"), refused())
case("9112 3.2", "a fragment", get(to="/a#b"), refused())
case("9112 3.2", "a fragment after a query", get(to="/a?b#c"), refused())
case("9112 3.2", "a fragment alone", get(to="#a"), refused())
case("9112 3.2", "a NUL in the target", get(to="/a\0b"), refused())
case("9112 3.2", "a DEL in the target", get(to="/a\x7fb"), refused())
case("9112 3.2", "a control octet in the target", get(to="/a\x01b"), refused())
case("9112 3.2", "obs-text in the target", req(b"GET /caf\xe9 HTTP/1.1"), refused())
case("9112 3.2", "UTF-8 in the query", req("GET /?q=é HTTP/1.1"), refused())
for char in "\"<>\\^`{|}":
    case("9112 3.2", f"{char} stands in no URI", get(to=f"/a{char}b?c{char}d"),
         seen(f"PATH /a{char}b", f"QUERY c{char}d"),
         exception="clients send these unescaped (WHATWG's URLs); harmless, so let through")
case("9112 3.2", "an invalid escape in the query", get(to="/?a=%zz"), seen("QUERY a=%zz"),
     exception="the query goes to the application as it came, and clients send 100% in it")

# ---- 3.2.1 to 3.2.4 the four forms --------------------------------------------------------------

case("9112 3.2.1", "path and query", get(to="/a/b?c=d&e"), seen("PATH /a/b", "QUERY c=d&e"))
case("9112 3.2.1", "an empty query", get(to="/a?"), seen("PATH /a", "QUERY "))
case("9112 3.2.1", "question marks in the query", get(to="/a?b?c/d"),
     seen("PATH /a", "QUERY b?c/d"))
case("9112 3.2.1", "every pchar", get(to="/-._~!$&'()*+,;=:@09azAZ"),
     seen("PATH /-._~!$&'()*+,;=:@09azAZ"))
case("9112 3.2.1", "escapes are decoded once", get(to="/%61%2541%2f%3f%20"), seen("PATH /a%41/? "))
case("9112 3.2.1", "escapes of either case", get(to="/%C3%a9"), seen("PATH /\xc3\xa9"))
case("9112 3.2.1", "an escaped CRLF is data of the path", get(to="/a%0D%0Ab"), seen("PATH /a\r\nb"))
case("9112 3.2.1", "empty segments stay", get(to="//a//b/"), seen("PATH //a//b/"))
case("9112 3.2.1", "a URI in the path", get(to="/http://x/?y"), seen("PATH /http://x/", "QUERY y"))
case("9112 3.2.1", "parameters stay", get(to="/a;b=c/d"), seen("PATH /a;b=c/d"))
case("9112 3.2.1", "a plus is a plus", get(to="/a+b?c+d"), seen("PATH /a+b", "QUERY c+d"))
for what, target in {"a query alone": "?a", "a name": "index.html", "dots": "../a", "a star": "*a",
                     "an escaped slash": "%2Fa", "a colon": ":a", "a semicolon": ";a",
                     "a backslash": "\\a"}.items():
    case("9112 3.2.1", f"a path begins with a slash: {what}", get(to=target), refused())
case("9112 3.2.2", "absolute-form is accepted", get(to="http://h/a?b"), seen("PATH /a", "QUERY b"))
case("9112 3.2.2", "its host stands for Host", get(to="http://o.example:81/a"),
     seen("PATH /a", "HEADER HTTP_HOST=o.example:81"))
case("9112 3.2.2", "it needs Host all the same", get(to="http://h/a", host=None), refused())
case("9112 3.2.2", "with an empty Host", get(to="http://o/a", host="Host:"),
     seen("HEADER HTTP_HOST=o"))
case("9112 3.2.2", "in 1.0, without Host", b"GET http://o/a HTTP/1.0\r\n\r\n",
     seen("PATH /a", "HEADER HTTP_HOST=o"), closes=True)
case("9112 3.2.2", "no path is /", get(to="http://o"), seen("PATH /", "QUERY "))
case("9112 3.2.2", "no path, but a query", get(to="http://o?a"), seen("PATH /", "QUERY a"))
case("9112 3.2.2", "schemes have no case", get(to="HtTp://o/a"),
     seen("PATH /a", "HEADER HTTP_HOST=o"))
case("9112 3.2.2", "an IPv6 host", get(to="http://[::1]:8000/a"),
     seen("HEADER HTTP_HOST=[::1]:8000"))
case("9112 3.2.2", "POST, with a body",
     req("POST http://o/a HTTP/1.1", "Content-Length: 3", body=b"abc"),
     seen("PATH /a", body=b"abc"))
case("9112 3.2.2", "a path of two slashes", get(to="http://o//a"), seen("PATH //a"))
for target in ("http:/h/a", "http:h", "http://", "http:///a", "http://:80/", "http://?a",
               "http://a b/", "http://h:x/", "http://[::1/", "http://[zz]/", "http://h/a#b",
               "http://h#b",
               "http://h/%zz", "http://h/%00", "ftp://h/", "file:///etc/passwd", "javascript:1",
               "h:80",
               "h/a", "//h/a/../b:x y", "http//h/", "://h/", "1http://h/"):
    case("9112 3.2.2", f"not an http URI: {target}", get(to=target), refused())
case("9112 3.2.4", "OPTIONS *", req("OPTIONS * HTTP/1.1"), seen("METHOD OPTIONS", "PATH *"))
case("9112 3.2.4", "OPTIONS of a path", req("OPTIONS /a HTTP/1.1"), seen("PATH /a"))
for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "PATCH"):
    case("9112 3.2.4", f"* is for OPTIONS only, not {method}", req(f"{method} * HTTP/1.1"),
         refused(to_head=method == "HEAD"))
case("9112 3.2.4", "* with more", req("OPTIONS *a HTTP/1.1"), refused())
case("9112 3.2.4", "*/ is no form", req("OPTIONS */ HTTP/1.1"), refused())
case("9112 3.2.4", "*? is no form", req("OPTIONS *?a HTTP/1.1"), refused())
case("9112 3.3", "the scheme is the connection's", get(), seen("SCHEME http"))
case("9112 3.3", "an untrusted client cannot say another", get("X-Forwarded-Proto: https"),
     seen("SCHEME http"))
case("9112 3.3", "1.0 without Host has an empty authority", b"GET /a HTTP/1.0\r\n\r\n",
     seen("PATH /a", hidden=("HEADER HTTP_HOST",)), closes=True)

# ---- 4 Status line ------------------------------------------------------------------------------

case("9112 4", "a blank follows the code though there is no reason",
     get(to="/made?status=200&body=x"),
     made(200, content=b"x"))
case("9112 4", "a reason of several words", get(to="/made?status=299+So+it+is&body=x"),
     made(299, content=b"x"))
case("9112 4", "an application's status that is no number is 500", get(to="/made?status=OK"),
     made(500, own=True))
case("9112 4", "of four digits", get(to="/made?status=2000+OK"), made(500, own=True))
case("9112 4", "of two digits", get(to="/made?status=20+OK"), made(500, own=True))
case("9112 4", "a reason cannot bring fields", get(to="/made?status=200+OK%0D%0AX-B:+1"),
     made(500, own=True, lacks=("X-B",)))

# ---- 5 Field syntax -----------------------------------------------------------------------------

for what, text in {"no blank": "X-A:v", "a blank": "X-A: v", "blanks": "X-A:    v   ",
                   "HTABs": "X-A:\tv\t", "both": "X-A: \t v \t "}.items():
    case("9112 5", f"OWS around a value: {what}", get(text), seen("HEADER HTTP_X_A=v"))
case("9112 5", "an empty value", get("X-A:"), seen("HEADER HTTP_X_A="))
case("9112 5", "a value of OWS alone", get("X-A: \t "), seen("HEADER HTTP_X_A="))
case("9112 5", "blanks and HTABs within a value stay", get("X-A: a  b\tc"),
     seen("HEADER HTTP_X_A=a  b\tc"))
case("9112 5", "colons in a value", get("X-A:: a:b"), seen("HEADER HTTP_X_A=: a:b"))
case("9112 5", "a field without colon", get("X-A"), refused())
case("9112 5", "a field without colon, with a value", get("X-A v"), refused())
case("9112 5", "a field without name", get(": v"), refused())
case("9112 5", "a first field without name", get(host=": v"), refused())
for where, text in {"a blank": "X-A : v", "an HTAB": "X-A\t: v", "several": "X-A  \t: v"}.items():
    case("9112 5.1", f"{where} before the colon is 400", get(text), refused())
case("9112 5.1", "before Host's colon", get(host="Host : h"), refused())
case("9112 5.1", "before Content-Length's colon", post(b"hello", host=None, *("Host: h",)).replace(
    b"Content-Length:", b"Content-Length :"), refused())
case("9112 5.1", "before Transfer-Encoding's colon",
     chunked(LAST).replace(b"Encoding:", b"Encoding :"),
     refused())
case("9112 5.1", "within a name", get("X A: v"), refused())
for what, raw in {
        "with SP": get("X-A: a\r\n b"), "with HTAB": get("X-A: a\r\n\tb"),
        "with an empty line of blanks": get("X-A: a\r\n  "), "of the last field": get("X-A:\r\n v"),
        "of Host": get(host="Host:\r\n h"),
        "of Content-Length": req("POST / HTTP/1.1", "Content-Length:\r\n 5", body=b"hello"),
        "of Transfer-Encoding": chunked(LAST, coding="\r\n chunked"),
        "twice": get("X-A: a\r\n b\r\n c"),
        "before a field that frames": req("POST / HTTP/1.1", "X: a\r\n Content-Length: 5",
                                          body=b"hello"),
}.items():
    case("9112 5.2", f"obs-fold is 400, and the answer says why: {what}", raw,
         refused(says="folded"))

# ---- 6 Message body -----------------------------------------------------------------------------

case("9112 6", "Content-Length tells of a body", post(b"hello"),
     seen("HEADER CONTENT_LENGTH=5", body=b"hello"))
case("9112 6", "Transfer-Encoding tells of a body", chunked(FIVE + LAST), seen(body=b"hello"))
case("9112 6", "whatever the method: GET", get("Content-Length: 3", body=b"abc"), seen(body=b"abc"))
case("9112 6", "whatever the method: DELETE chunked",
     req("DELETE / HTTP/1.1", "Transfer-Encoding: chunked", body=FIVE + LAST),
     seen("METHOD DELETE", body=b"hello"))
case("9112 6", "a body that looks like a request is a body", post(get(to="/no")),
     seen(body=get(to="/no")))
case("9112 6", "a method that is not known may have a body", req(
    "BREW / HTTP/1.1", "Content-Length: 3", body=b"abc"), seen("METHOD BREW", body=b"abc"))
case("9112 6.1", "names of codings have no case", chunked(FIVE + LAST, coding="ChUnKeD"),
     seen(body=b"hello"))
case("9112 6.1", "chunked is parsed", chunked(b"1\r\na\r\n2\r\nbc\r\n" + LAST), seen(body=b"abc"))
case("9112 6.1", "chunked twice", chunked(LAST, coding="chunked, chunked"), refused())
case("9112 6.1", "chunked twice, in two fields", chunked(LAST, "Transfer-Encoding: chunked"),
     refused())
case("9112 6.1", "chunked twice, around another", chunked(LAST, coding="chunked, gzip, chunked"),
     refused(400, 501))
case("9112 6.1", "a coding that is not understood is 501", chunked(LAST, coding="gzip, chunked"),
     refused(501))
case("9112 6.1", "several of them", chunked(LAST, coding="deflate, gzip, chunked"), refused(501))
case("9112 6.1", "one that nobody knows", chunked(LAST, coding="x-foo, chunked"), refused(501))
case("9112 6.1", "one with parameters", chunked(LAST, coding="x-foo;a=b, chunked"), refused(501))
case("9112 6.1", "one in a field of its own",
     chunked(LAST, "Transfer-Encoding: chunked", coding="gzip"),
     refused(), exception="a repeated Transfer-Encoding is 400 whatever it lists")
for first, second in (("cl", "te"), ("te", "cl")):
    fields = {"cl": "Content-Length: 5", "te": "Transfer-Encoding: chunked"}
    case("9112 6.1", f"both framings, {first} first: refused and closed",
         req("POST / HTTP/1.1", fields[first], fields[second], body=LAST), refused())
case("9112 6.1", "both framings, Content-Length 0",
     req("POST / HTTP/1.1", "Content-Length: 0", "Transfer-Encoding: chunked", body=LAST),
     refused())
case("9112 6.1", "both framings, the coding written oddly",
     req("POST / HTTP/1.1", "Content-Length: 5", "tRANSFER-eNCODING:\tCHUNKED", body=LAST),
     refused())
case("9112 6.1", "both framings, an unknown coding",
     req("POST / HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: x", body=b"hello"),
     refused(400, 501))
case("9112 6.1", "Transfer-Encoding in 1.0 is faulty framing",
     b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST, refused())
case("9112 6.1", "in 1.0, with Content-Length",
     b"POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
     refused())
case("9112 6.1", "in 1.0 that asks to be kept",
     b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
     refused())
case("9112 6.1", "no Transfer-Encoding in an answer to 1.0", b"GET /made?parts=3 HTTP/1.0\r\n\r\n",
     made(200, content=b"partpartpart", lacks=("Transfer-Encoding",)), closes=True)
case("9112 6.1", "nor to 1.0 that asks to be kept",
     b"GET /made?parts=3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     made(200, content=b"partpartpart", lacks=("Transfer-Encoding", "Content-Length"), closes=True))
case("9112 6.1", "chunked in an answer to 1.1", get(to="/made?parts=3"),
     made(200, content=b"partpartpart", has=(("Transfer-Encoding", "chunked"),),
          lacks=("Content-Length",)))
case("9112 6.1", "none in 204", get(to="/made?status=204+No+Content&parts=3"),
     made(204, lacks=("Transfer-Encoding", "Content-Length")))
case("9112 6.1", "the application's own is refused",
     get(to="/made?h1=Transfer-Encoding:chunked&body=0"),
     made(500, own=True))
case("9112 6.2", "Content-Length counts octets", post("é€".encode()), seen(body="é€".encode()))
case("9112 6.2", "Content-Length 0", post(b""), seen("HEADER CONTENT_LENGTH=0"))
case("9112 6.2", "none beside Transfer-Encoding in an answer", get(to="/made?parts=1"),
     made(200, content=b"part", lacks=("Content-Length",)))

# ---- 6.3 Message body length --------------------------------------------------------------------

case("9112 6.3", "an answer to HEAD ends with its head", head("/made?body=xyz") + get(to="/2"),
     made(200, to_head=True, has=(("Content-Length", "3"),)), seen("PATH /2"))
case("9112 6.3", "204 ends with its head",
     get(to="/made?status=204+No+Content&body=xyz") + get(to="/2"),
     made(204, content=b""), seen("PATH /2"))
case("9112 6.3", "304 ends with its head",
     get(to="/made?status=304+Not+Modified&body=xyz") + get(to="/2"),
     made(304, content=b""), seen("PATH /2"))
for coding in ("gzip", "chunked, gzip", "identity", "x-foo", "chunked, identity", "chunkedx",
               "xchunked",
               "chunke", "\"chunked\"", "chunked chunked", "chunked;", "chun ked", "chunked\xa0"):
    case("9112 6.3", f"chunked is not last: 400 and closed: {coding}",
         req("POST / HTTP/1.1", b"Transfer-Encoding: " + coding.encode("latin-1"), body=LAST),
         refused())
case("9112 6.3", "an empty Transfer-Encoding", chunked(LAST, coding=""), refused())
case("9112 6.3", "a Transfer-Encoding of blanks", chunked(LAST, coding=" \t "), refused())
case("9112 6.3", "a Transfer-Encoding of commas", chunked(LAST, coding=", ,"), refused())
for value in ("+5", "-5", "0x5", "5a", "a", "5.0", "5e0", "5 5", "", " ", "\"5\"", "5;", "1_0",
              "5,", ",5",
              "5,6", "-0", "٥", "5\xa0", "0b1", "'5'", "5 ; a=b", "18446744073709551616",
              "99999999999999999999999999999999"):
    case("9112 6.3", f"an invalid Content-Length is 400 and closed: {value!r}",
         req("POST / HTTP/1.1", f"Content-Length: {value}", body=b"hello"), refused())
case("9112 6.3", "a list of the same Content-Length may be refused",
     req("POST / HTTP/1.1", "Content-Length: 5, 5", body=b"hello"), refused())
case("9112 6.3", "Content-Length twice, alike", post(b"hello", "Content-Length: 5"), refused())
case("9112 6.3", "Content-Length twice, different", post(b"hello", "Content-Length: 6"), refused())
case("9112 6.3", "Content-Length twice, one of them in another case",
     post(b"hello", "content-LENGTH: 0"),
     refused())
case("9112 6.3", "Content-Length twice, one of them empty", post(b"hello", "Content-Length:"),
     refused())
case("9112 6.3", "an invalid Content-Length of GET", get("Content-Length: x"), refused())
case("9112 6.3", "leading zeros are digits",
     req("POST / HTTP/1.1", "Content-Length: 0005", body=b"hello"),
     seen(body=b"hello"))
case("9112 6.3", "OWS around Content-Length",
     req("POST / HTTP/1.1", "Content-Length: \t 5 \t", body=b"hello"),
     seen("HEADER CONTENT_LENGTH=5", body=b"hello"))
case("9112 6.3", "POST without framing has no body", req("POST / HTTP/1.1") + get(to="/2"),
     seen("METHOD POST"), seen("PATH /2"))
case("9112 6.3", "PUT without framing has no body", req("PUT / HTTP/1.1") + get(to="/2"),
     seen("METHOD PUT"), seen("PATH /2"))
case("9112 6.3", "a body in 1.0", b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
     seen(body=b"hello"),
     closes=True)
case("9112 6.3", "1.0 without framing has no body", b"POST / HTTP/1.0\r\n\r\n",
     seen("METHOD POST"), closes=True)
case("9112 6.3", "octets beyond Content-Length are the next request", post(b"hello") + b"x",
     seen(body=b"hello"),
     refused(501, 400), fin=True)
case("9112 6.3", "the length is sent where it is known", get(to="/made?body=xyz"),
     made(200, content=b"xyz", has=(("Content-Length", "3"),)))
case("9112 6.3", "also of an empty body", get(to="/made?body="),
     made(200, content=b"", has=(("Content-Length", "0"),)))
case("9112 6.3", "the application's length is taken for an iterator", get(to="/made?parts=2&cl=8"),
     made(200, content=b"partpart", has=(("Content-Length", "8"),), lacks=("Transfer-Encoding",)))

# ---- 7 Transfer codings -------------------------------------------------------------------------

case("9112 7", "parameters of chunked are an error", chunked(LAST, coding="chunked;a=b"), refused())
case("9112 7", "a quoted one too", chunked(LAST, coding="chunked; a=\"b\""), refused())
for size in ("5", "05", "00005", "0000000000000005"):
    case("9112 7.1", f"a chunk size of {len(size)} digits",
         chunked(f"{size}\r\nhello\r\n".encode() + LAST),
         seen(body=b"hello"))
case("9112 7.1", "a chunk size of 17 digits, zeros in front", chunked(b"0" * 16 + FIVE + LAST),
     seen(body=b"hello"))
case("9112 7.1", "hex digits of either case",
     chunked(b"a\r\n0123456789\r\nB\r\n0123456789a\r\n" + LAST),
     seen(body=b"01234567890123456789a"))
case("9112 7.1", "an empty chunked body", chunked(LAST), seen(body=b""))
case("9112 7.1", "several zeros end it", chunked(FIVE + b"000\r\n\r\n"), seen(body=b"hello"))
case("9112 7.1", "chunk data may hold CRLFs", chunked(b"8\r\n\r\n0\r\n\r\n\n\r\n" + LAST),
     seen(body=b"\r\n0\r\n\r\n\n"))
case("9112 7.1", "many chunks", chunked(b"1\r\nx\r\n" * 50 + LAST), seen(body=b"x" * 50))
case("9112 7.1", "a chunk of 4 KiB", chunked(b"1000\r\n" + b"y" * 4096 + b"\r\n" + LAST),
     seen(body=b"y" * 4096))
case("9112 7.1", "a request behind it", chunked(FIVE + LAST) + get(to="/2"), seen(body=b"hello"),
     seen("PATH /2"))
for size in ("FFFFFFFFFFFFFFFF", "FFFFFFFFFFFFFFFFF", "10000000000000000", "7fffffffffffffff",
             "100000001",
             "8000000000000000", "fffffffffffffff0"):
    case("9112 7.1", f"large sizes do not overflow: {size}",
         chunked(f"{size}\r\nhello\r\n".encode() + LAST),
         refused(400, 413))
case("9112 7.1", "sizes that overflow together",
     chunked(FIVE + b"fffffffffffffffb\r\nhello\r\n" + LAST), refused(400, 413))
for what, raw in {
        "no size": b"\r\nhello\r\n", "0x": b"0x5\r\nhello\r\n", "plus": b"+5\r\nhello\r\n",
        "minus": b"-5\r\nhello\r\n", "a letter": b"g\r\nhello\r\n",
                  "a blank in front": b" 5\r\nhello\r\n",
        "a blank behind": b"5 \r\nhello\r\n", "an HTAB behind": b"5\t\r\nhello\r\n",
                  "a dot": b"5.\r\nhello\r\n",
        "an underscore": b"1_0\r\nhello\r\n", "h": b"5h\r\nhello\r\n",
                  "a comma": b"5,5\r\nhello\r\n",
        "bare LF after the size": b"5\nhello\r\n", "bare CR after the size": b"5\rhello\r\n",
        "two CRs after the size": b"5\r\r\nhello\r\n", "bare LF after the data": b"5\r\nhello\n",
        "bare CR after the data": b"5\r\nhello\r0",
                  "no CRLF after the data": b"5\r\nhello0\r\n\r\n",
        "data longer than its size": b"4\r\nhello\r\n",
                  "data shorter than its size": b"6\r\nhello\r\n",
        "a NUL in the size": b"5\0\r\nhello\r\n", "obs-text in the size": b"5\xb2\r\nhello\r\n",
        "an empty line between chunks": FIVE + b"\r\n5\r\nhello\r\n",
                  "LF after the last size": b"0\n\r\n",
        "LF at the very end": b"0\r\n\n", "CR at the very end": b"0\r\n\rX",
        "a second last chunk": b"0\r\n0\r\n\r\n",
}.items():
    case("9112 7.1", f"not a chunk is 400 and closed: {what}", chunked(raw + LAST), refused())
for ext in (";a", ";a=b", ";a=b;c=d", ";a;b;c", ";a=\"b\"", ";a=\"b;c=d\"", ";a=\"\"",
            ";a=\"b\\\"c\"",
            ";a=\"b\\\\\"", ";a=\"b,c\td\"", ";a=\"b\";c=\"d\";e",
            ";!#$%&'*+-.^_`|~=!#$%&'*+-.^_`|~", ";0=0",
            ";a=" + "b" * 1000):
    case("9112 7.1.1", f"chunk extensions are ignored: {ext[:30]}",
         chunked(f"5{ext}\r\nhello\r\n".encode() + LAST), seen(body=b"hello"))
for ext in (" ;a", "; a", " ; a = b", "\t;\ta\t=\tb", ";a =b", ";a= \"b\" ;c"):
    case("9112 7.1.1", f"BWS in chunk extensions: {ext!r}",
         chunked(f"5{ext}\r\nhello\r\n".encode() + LAST), seen(body=b"hello"))
case("9112 7.1.1", "of the last chunk", chunked(FIVE + b"0;a=b;c=\"d\"\r\n\r\n"),
     seen(body=b"hello"))
case("9112 7.1.1", "of every chunk", chunked((b"1;a=b\r\nx\r\n" * 9) + b"0;c\r\n\r\n"),
     seen(body=b"x" * 9))
case("9112 7.1.1", "obs-text in a quoted value", chunked(b"5;a=\"\xe9\"\r\nhello\r\n" + LAST),
     seen(body=b"hello"))
case("9112 7.1.1", "too long in all is refused",
     chunked(b"5;a=" + b"b" * 5000 + b"\r\nhello\r\n" + LAST),
     refused(400, 413, 431))
for ext in (";", ";;a", ";=b", ";a=", ";a=;b", ";a=b=c", ";a=\"b", ";a=b\"c\"", ";a=\"b\"c",
            ";a b", ";a@b", "g",
            ";a=\"b\n\"", ";a=b\n", ";a=\"b\r\"", ";a=b\rc", ";a=\0", ";\x7f", ";a=(",
            ";a=\"\\\x01\"", ";a=b,c"):
    case("9112 7.1.1", f"not a chunk extension: {ext!r}",
         chunked(f"5{ext}\r\nhello\r\n".encode() + LAST),
         refused())
case("9112 7.1.2", "trailers stay apart from the head",
     chunked(FIVE + b"0\r\nX-T: 1\r\nX-U:2\r\n\r\n") + get(to="/2"),
     seen("TRAILER X-T=1", "TRAILER X-U=2", body=b"hello",
          hidden=("HEADER HTTP_X_T", "HEADER HTTP_X_U")), seen("PATH /2", hidden=("TRAILER",)))
case("9112 7.1.2", "announced trailers", chunked(FIVE + b"0\r\nX-T: 1\r\n\r\n", "Trailer: X-T"),
     seen("HEADER HTTP_TRAILER=X-T", "TRAILER X-T=1", body=b"hello", hidden=("HEADER HTTP_X_T=",)))
case("9112 7.1.2", "an empty trailer value", chunked(FIVE + b"0\r\nX-T:\r\n\r\n"),
     seen("TRAILER X-T=", body=b"hello"))
case("9112 7.1.2", "obs-text in a trailer", chunked(FIVE + b"0\r\nX-T: \xff\r\n\r\n"),
     seen("TRAILER X-T=\xff", body=b"hello"))
for what, raw in {
        "without colon": b"X-T\r\n", "without name": b": 1\r\n",
                  "blank before the colon": b"X-T : 1\r\n",
        "folded": b"X-T: 1\r\n 2\r\n", "bare LF": b"X-T: 1\n", "bare CR": b"X-T: 1\r2\r\n",
        "bare CR at the end": b"X-T: 1\r\r\n", "NUL": b"X-T: \0\r\n",
                  "a blank in front": b" X-T: 1\r\n",
        "not a token": b"X(T): 1\r\n", "a request line": b"GET / HTTP/1.1\r\n",
}.items():
    case("9112 7.1.2", f"an invalid trailer is 400: {what}",
         chunked(FIVE + b"0\r\n" + raw + b"\r\n"), refused())
case("9112 7.1.2", "too many trailers are 431",
     chunked(FIVE + b"0\r\n" + b"X: 1\r\n" * 101 + b"\r\n"), refused(431))
case("9112 7.1.2", "too long a trailer is 431",
     chunked(FIVE + b"0\r\nX: " + b"a" * 8200 + b"\r\n\r\n"), refused(431))
case("9112 7.1.3", "decoding: Content-Length is that of the content", chunked(FIVE + LAST),
     seen("HEADER CONTENT_LENGTH=5", body=b"hello"))
case("9112 7.1.3", "decoding: of no content it is 0", chunked(LAST),
     seen("HEADER CONTENT_LENGTH=0", body=b""))
for coding in ("gzip", "x-gzip", "compress", "x-compress", "deflate", "br"):
    case("9112 7.2", f"compression is not understood: {coding}",
         chunked(LAST, coding=f"{coding}, chunked"),
         refused(501))
case("9112 7.4", "TE asks for nothing that must be done",
     get("TE: trailers, deflate;q=0.5", "Connection: TE"),
     seen("HEADER HTTP_TE=trailers, deflate;q=0.5"))
case("9112 7.4", "TE: chunked is no coding of the answer", get("TE: chunked", to="/made?body=x"),
     made(200, content=b"x", has=(("Content-Length", "1"),)))

# ---- 8 Incomplete messages ----------------------------------------------------------------------

for what, raw in {
        "in the request line": b"GET / HT", "after the request line": b"GET / HTTP/1.1\r\n",
        "in a field": b"GET / HTTP/1.1\r\nHost: h",
                  "before the empty line": b"GET / HTTP/1.1\r\nHost: h\r\n",
        "in the empty line": b"GET / HTTP/1.1\r\nHost: h\r\n\r",
        "before the body": post(b"hello")[:-5], "in the body": post(b"hello")[:-1],
        "before the first chunk": chunked(b""), "in a chunk size": chunked(b"5"),
        "in a chunk size's end": chunked(b"5\r"), "in a chunk extension": chunked(b"5;a=\"b"),
        "in chunk data": chunked(b"5\r\nhel"), "after chunk data": chunked(b"5\r\nhello"),
        "between chunks": chunked(FIVE), "before the last chunk's end": chunked(FIVE + b"0\r\n"),
        "in a trailer": chunked(FIVE + b"0\r\nX-T: 1"),
                  "in the very last line": chunked(FIVE + b"0\r\n\r"),
}.items():
    case("9112 8", f"a request cut short is not worked: {what}", raw, refused(), fin=True)
case("9112 8", "an answer that is cut short is not ended in order: fewer octets than promised",
     get(to="/made?body=xyz&cl=9"), Answer((200,), says="broken"), closes=True)
case("9112 8", "a chunked answer that fails has no last chunk", get(to="/made?parts=3&fail=2"),
     Answer((200,), says="broken"), closes=True)

# ---- 9 Connections ------------------------------------------------------------------------------

case("9112 9.2", "answers come in the order of the requests",
     b"".join(get(to=f"/{i}") for i in range(5)),
     *(seen(f"PATH /{i}") for i in range(5)))
case("9112 9.3", "1.1 persists", get(), seen(lacks=("Connection",)))
case("9112 9.3", "1.1 with keep-alive persists", get("Connection: keep-alive"), seen())
case("9112 9.3", "1.1 with Keep-Alive parameters persists",
     get("Connection: Keep-Alive", "Keep-Alive: timeout=1"),
     seen())
case("9112 9.3", "1.1 with close does not", get("Connection: close"), seen(closes=True))
case("9112 9.3", "options have no case", get("Connection: CLOSE"), seen(closes=True))
case("9112 9.3", "close among others", get("Connection: foo, close ,bar", "Foo: 1", "Bar: 2"),
     seen(closes=True))
case("9112 9.3", "close in a second field", get("Connection: foo", "Connection: close"),
     seen(closes=True))
case("9112 9.3", "close wins over keep-alive", get("Connection: keep-alive, close"),
     seen(closes=True))
case("9112 9.3", "close wins, the other way", get("Connection: close, keep-alive"),
     seen(closes=True))
case("9112 9.3", "close with HTABs around", get("Connection:\tclose\t"), seen(closes=True))
case("9112 9.3", "what only looks like close", get("Connection: closed, xclose, clos, close-x"),
     seen())
case("9112 9.3", "an empty Connection", get("Connection:"), seen())
case("9112 9.3", "1.0 does not persist", b"GET / HTTP/1.0\r\nHost: h\r\n\r\n", seen(), closes=True)
case("9112 9.3", "1.0 with keep-alive does, and is told",
     b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n",
     seen(has=(("Connection", "keep-alive"),)))
case("9112 9.3", "1.0 with Keep-Alive in any case",
     b"GET / HTTP/1.0\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n",
     seen(has=(("Connection", "keep-alive"),)))
case("9112 9.3", "1.0 with keep-alive and close does not",
     b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive, close\r\n\r\n", seen(closes=True))
case("9112 9.3", "1.0 with another option does not",
     b"GET / HTTP/1.0\r\nHost: h\r\nConnection: foo\r\n\r\n",
     seen(), closes=True)
case("9112 9.3", "a body the application does not read is not the next request",
     req("POST /made?body=x HTTP/1.1", "Content-Length: 60",
         body=b"GET /no HTTP/1.1\r\nHost: h\r\n\r\n" + b"z" * 31)
     + get(to="/2"), made(200, content=b"x"), seen("PATH /2"))
case("9112 9.3", "nor a chunked one",
     req("POST /made?body=x HTTP/1.1", "Transfer-Encoding: chunked", body=FIVE + LAST)
     + get(to="/2"), made(200, content=b"x"), seen("PATH /2"))
case("9112 9.3", "1.0 and 1.1 on one connection",
     b"GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get(to="/2"),
     seen("PROTOCOL HTTP/1.0"), seen("PROTOCOL HTTP/1.1"))
case("9112 9.3.2", "pipelined, each kind after each",
     get(to="/1") + post(b"two") + head("/3") + chunked(FIVE + LAST) + get(to="/made?parts=2")
     + get(to="/6"),
     seen("PATH /1"), seen(body=b"two"), seen(to_head=True), seen(body=b"hello"),
     made(200, content=b"partpart"), seen("PATH /6"))
case("9112 9.3.2", "an error does not overtake", get(to="/1") + get(to="/2") + get(to="no"),
     seen("PATH /1"), seen("PATH /2"), refused())
case("9112 9.3.2", "a streamed answer is not overtaken", get(to="/made?parts=40") + get(to="/2"),
     made(200, content=b"part" * 40), seen("PATH /2"))
case("9112 9.3.2", "an application's error does not end the pipeline",
     get(to="/made?null=1") + get(to="/2"),
     made(500, own=True), seen("PATH /2"))
case("9112 9.5", "a client that ends between requests is let go", b"", closes=True, fin=True)
case("9112 9.5", "a client that ends its side is answered", get(to="/1") + get(to="/2"),
     seen("PATH /1"), seen("PATH /2"), fin=True)
case("9112 9.5", "after empty lines too", b"\r\n\r\n", closes=True, fin=True)
case("9112 9.6", "close: nothing after it is worked", get("Connection: close", to="/1"),
     seen("PATH /1", closes=True))
case("9112 9.6", "close in the middle of a pipeline",
     get(to="/1") + get("Connection: close", to="/2"),
     seen("PATH /1"), seen("PATH /2", closes=True))
case("9112 9.6", "close with a body", post(b"hello", "Connection: close") + get(to="/2"),
     seen(body=b"hello", closes=True))
case("9112 9.6", "close with a chunked body",
     chunked(FIVE + LAST, "Connection: close") + get(to="/2"),
     seen(body=b"hello", closes=True))
case("9112 9.6", "close in a trailer is refused",
     chunked(FIVE + b"0\r\nConnection: close\r\n\r\n"), refused())
case("9112 9.6", "1.0: nothing after it is worked", b"GET /1 HTTP/1.0\r\n\r\n", seen("PATH /1"),
     closes=True)
case("9112 9.6", "1.0: a CRLF behind the body does no harm",
     b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc\r\n", seen(body=b"abc"), closes=True,
     bare=True)
case("9112 9.6", "nor to a long answer, which closing with octets unread would cut",
     b"POST /made?parts=99999 HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc\r\n",
     made(200, content=b"part" * 99999),
     closes=True, bare=True)
case("9112 9.6", "nor what is sent behind close", get("Connection: close", to="/made?parts=99999"),
     made(200, content=b"part" * 99999, closes=True))
case("9112 9.6", "an error's answer is not lost to a reset by what the client sends on",
     get(to="no") + b"x" * 5000, refused())

# ==== RFC 9110 ===================================================================================
# ---- 5 Fields -----------------------------------------------------------------------------------

case("9110 5.1", "names have no case", get("x-a: 1", "HOST: h", host=None),
     seen("HEADER HTTP_X_A=1", "HEADER HTTP_HOST=h"))
case("9110 5.1", "unknown fields are let pass", get("Foo-Bar-Baz: 1"),
     seen("HEADER HTTP_FOO_BAR_BAZ=1"))
case("9110 5.1", "framing fields have no case",
     b"POST / HTTP/1.1\r\nhOsT: h\r\ncONTENT-lENGTH: 3\r\n\r\nabc", seen(body=b"abc"))
case("9110 5.1", "Transfer-Encoding in capitals",
     b"POST / HTTP/1.1\r\nHOST: h\r\nTRANSFER-ENCODING: chunked\r\n\r\n" + LAST, seen())
case("9110 5.1", "names with _ do not pass for others", get("X_A: 1", "X-B: 2", "X_B: 3"),
     seen("HEADER HTTP_X_B=2", hidden=("HEADER HTTP_X_A",)))
case("9110 5.1", "Content_Length does not frame", get("Content_Length: 5"),
     seen(hidden=("HEADER CONTENT_LENGTH",)))
case("9110 5.2", "lines of one name are joined in order",
     get("X-A: 1", "X-B: b", "x-a: 2", "X-A: 3"),
     seen("HEADER HTTP_X_A=1, 2, 3", "HEADER HTTP_X_B=b"))
case("9110 5.2", "an empty one among them", get("X-A: 1", "X-A:", "X-A: 3"),
     seen("HEADER HTTP_X_A=1, , 3"))
case("9110 5.3", "Cookie is joined by its own separator", get("Cookie: a=1", "Cookie: b=2"),
     seen("HEADER HTTP_COOKIE=a=1; b=2"))
case("9110 5.3", "Set-Cookie lines are sent apart, in order",
     get(to="/made?h1=Set-Cookie:a=1&h2=Set-Cookie:b=2&body=x"),
     made(200, content=b"x", has=(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))))
case("9110 5.3", "the request is worked only when its head is whole",
     b"GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n",
     refused(), fin=True)
case("9110 5.3", "a repeated Content-Type is refused",
     post(b"", "Content-Type: a/b", "Content-Type: a/b"), refused())
case("9110 5.4", "100 fields", get(*(f"X-{i}: {i}" for i in range(99))),
     seen("HEADER HTTP_X_98=98"))
case("9110 5.4", "more than 100 fields are 431", get(*(f"X-{i}: {i}" for i in range(100))),
     refused(431))
case("9110 5.4", "a field of 8,190 octets", get("X-A: " + "a" * 8185),
     seen("HEADER HTTP_X_A=" + "a" * 8185))
case("9110 5.4", "a larger one is 431", get("X-A: " + "a" * 8186), refused(431))
case("9110 5.4", "too long a name is 431", get("X" * 8200 + ": a"), refused(431))
case("9110 5.4", "fields too large together are 431",
     get(*("X-A: " + "a" * 7000 for _ in range(10))), refused(431))
case("9110 5.5", "values lose the blanks around them", get("X-A:   a b   "),
     seen("HEADER HTTP_X_A=a b"))
for what, octet in {"NUL": "\0", "LF": "\n", "CR": "\r", "SOH": "\x01", "BEL": "\x07",
                    "BS": "\x08", "VT": "\x0b",
                    "FF": "\x0c", "ESC": "\x1b", "US": "\x1f", "DEL": "\x7f"}.items():
    case("9110 5.5", f"{what} in a value", get(f"X-A: a{octet}b"), refused())
case("9110 5.5", "NUL at a value's end", get("X-A: a\0"), refused())
case("9110 5.5", "NUL in Host", get(host="Host: h\0"), refused())
case("9110 5.5", "every other octet is kept",
     get(b"X-A: " + bytes(range(0x21, 0x7f)) + b" \t" + bytes(range(0x80, 0x100)) + b"."),
     seen("HEADER HTTP_X_A="
          + (bytes(range(0x21, 0x7f)) + b" \t" + bytes(range(0x80, 0x100))
             + b".").decode("latin-1")))
case("9110 5.5", "a CR in an application's value is refused", get(to="/made?h1=X-A:a%0Db"),
     made(500, own=True, lacks=("X-A",)))
case("9110 5.5", "a LF too", get(to="/made?h1=X-A:a%0AX-B:+1"),
     made(500, own=True, lacks=("X-A", "X-B")))
case("9110 5.5", "another control octet too", get(to="/made?h1=X-A:a%01"), made(500, own=True))
case("9110 5.5", "obs-text passes", get(to="/made?h1=X-A:%E9&body=x"),
     made(200, content=b"x", has=(("X-A", "\xe9"),)))
for raw in (", close", "close,", ",, close ,,", " , \t, close", "close, , ,"):
    case("9110 5.6.1.2", f"empty elements of a list are ignored: {raw!r}",
         get(f"Connection: {raw}"), seen(closes=True))
case("9110 5.6.1.2", "of Transfer-Encoding, in front", chunked(FIVE + LAST, coding=", chunked"),
     seen(body=b"hello"))
case("9110 5.6.1.2", "of Transfer-Encoding, behind", chunked(FIVE + LAST, coding="chunked,"),
     seen(body=b"hello"))
case("9110 5.6.1.2", "of Transfer-Encoding, all around",
     chunked(FIVE + LAST, coding=" ,\t, chunked , ,"), seen(body=b"hello"))
case("9110 5.6.1.2", "of Expect",
     (req("POST / HTTP/1.1", "Expect: , 100-continue,", "Content-Length: 3"), b"abc"),
     CONTINUE, seen(body=b"abc"))
case("9110 5.6.1.2", "an empty Expect", get("Expect:"), seen())
case("9110 5.6.2", "every tchar in a name", get("!#$%&'*+-.^`|~09azAZ: v"),
     seen("HEADER HTTP_!#$%&'*+_.^`|~09AZAZ=v"))
for char in "()<>@,;\\\"/[]?={}":
    case("9110 5.6.2", f"{char} in a name", get(f"X{char}A: v"), refused())
case("9110 5.6.2", "obs-text in a name", get(b"X\xe9A: v"), refused())
case("9110 5.6.2", "NUL in a name", get("X\0A: v"), refused())
case("9110 5.6.2", "DEL in a name", get("X\x7fA: v"), refused())
case("9110 5.6.2", "an application's name that is no token is refused", get(to="/made?h1=X+A:v"),
     made(500, own=True))
case("9110 5.6.3", "OWS in a list", get("Connection: \t foo \t , \t close \t"), seen(closes=True))
case("9110 5.6.3", "BWS is parsed and removed",
     chunked(b"5 \t ; \t a \t = \t \"b\" \t ; c\r\nhello\r\n" + LAST),
     seen(body=b"hello"))
case("9110 5.6.4", "a quoted pair is the octet behind it",
     chunked(b"5;a=\"\\\"\\;\\\\\"\r\nhello\r\n" + LAST),
     seen(body=b"hello"))
case("9110 5.6.4", "a quoted string holds what would end it",
     chunked(b"5;a=\";0,\"\r\nhello\r\n" + LAST),
     seen(body=b"hello"))
case("9110 5.6.6", "parameters reach the application", post(b"", "Content-Type: a/b;c=\"d;e\""),
     seen("HEADER CONTENT_TYPE=a/b;c=\"d;e\""))
case("9110 5.6.7", "Date is an IMF-fixdate (checked on every answer)", get(),
     seen(has=(("Date", None),)))

# ---- 6 Messages ---------------------------------------------------------------------------------

case("9110 6.1", "framing does not depend on content",
     post(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n") + get(to="/2"),
     seen(body=b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"), seen("PATH /2"))
for version in ("HTTP/1.2", "HTTP/1.9"):
    case("9110 6.2", f"a higher minor version is read as 1.1: {version}", req(f"GET / {version}"),
         seen("PROTOCOL HTTP/1.1"))
case("9110 6.2", "also its chunked body", chunked(FIVE + LAST).replace(b"/1.1", b"/1.3"),
     seen(body=b"hello"))
case("9110 6.2", "and it needs Host", req("GET / HTTP/1.2", host=None), refused())
for version in ("HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/0.0"):
    case("9110 6.2", f"another major version is 505: {version}", req(f"GET / {version}"),
         refused(505))
case("9110 6.2", "the HTTP/2 preface is 505", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", refused(505))
case("9110 6.2", "1.0 is answered as 1.1, the highest it conforms to", b"GET / HTTP/1.0\r\n\r\n",
     seen(), closes=True)
case("9110 6.3", "any field may be in the head", get("Date: x", "Server: y", "ETag: z"),
     seen("HEADER HTTP_DATE=x", "HEADER HTTP_SERVER=y", "HEADER HTTP_ETAG=z"))
case("9110 6.4", "content is handed on as it is",
     post(b"\x1f\x8b\x08\0\0", "Content-Encoding: gzip"),
     seen("HEADER HTTP_CONTENT_ENCODING=gzip", body=b"\x1f\x8b\x08\0\0"))
for status in ("204 No Content", "304 Not Modified"):
    for how in ("body=xyz", "parts=3", "body=xyz&cl=3"):
        case("9110 6.4.1", f"{status} has no content, though the application gives some: {how}",
             get(to=f"/made?status={status.replace(' ', '+')}&{how}") + get(to="/2"),
             made(int(status[:3]), content=b""), seen("PATH /2"))
case("9110 6.5", "trailers end where the section ends",
     chunked(FIVE + b"0\r\nX: 1\r\nY: 2\r\n\r\n") + get(to="/2"),
     seen(body=b"hello"), seen("PATH /2"))
for name in ("Content-Length: 3", "Host: evil", "Authorization: x", "Content-Type: x/y",
             "Cookie: a=b", "X-Forwarded-For: 1.2.3.4", "Expect: 100-continue",
             "Content-Encoding: gzip", "Transfer-Encoding: chunked", "TE: trailers",
             "Trailer: X", "Connection: close", "If-Match: *", "Range: bytes=0-1",
             "Cache-Control: no-store", "Proxy-Authorization: x", "Forwarded: for=1.2.3.4"):
    case("9110 6.5.1", f"a trailer that must stand before the content is refused: {name}",
         chunked(FIVE + b"0\r\nX-T: 1\r\n" + name.encode() + b"\r\n\r\n"), refused())
for name in ("Content-MD5: x", "Digest: y", "Hosts: a", "X-T: 1", "Server-Timing: t;dur=1"):
    key, _, value = name.partition(": ")
    case("9110 6.5.1", f"another is not merged into the head: {name}",
         chunked(FIVE + b"0\r\n" + name.encode() + b"\r\n\r\n") + get(to="/2"),
         seen("HEADER CONTENT_LENGTH=5", f"TRAILER {key}={value}", body=b"hello",
              hidden=(f"HEADER HTTP_{key.upper().replace('-', '_')}",)), seen("PATH /2"))
for status in ("200 OK", "301 Moved", "404 Not Found", "500 Oops"):
    case("9110 6.6.1", f"Date in {status[0]}xx",
         get(to=f"/made?status={status.replace(' ', '+')}&body=x"),
         made(int(status[:3]), has=(("Date", None),)))
case("9110 6.6.1", "Date in 204", get(to="/made?status=204+No+Content"),
     made(204, has=(("Date", None),)))
case("9110 6.6.1", "Date in the server's own 400", get(to="no"), refused(has=(("Date", None),)))
case("9110 6.6.1", "the application's Date is the only one",
     get(to="/made?h1=Date:Sun,+06+Nov+1994+08:49:37+GMT&body=x"),
     made(200, has=(("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),)))

# ---- 7 Routing ----------------------------------------------------------------------------------

case("9110 7.1", "the target excludes the fragment", get(to="/a?b=c#d"), refused())
case("9110 7.2", "Host with a port reaches the application", get(host="Host: a.example:8080"),
     seen("HEADER HTTP_HOST=a.example:8080"))
case("9110 7.2", "an http URI without host is invalid", get(to="http:///a"), refused())
case("9110 7.4", "https is refused where the connection is not secure", get(to="https://h/a"),
     refused(421, 400))
case("9110 7.4", "userinfo is not taken for a host", get(to="http://u:p@h/a"), refused())
case("9110 7.4", "nor without password", get(to="http://u@h/a"), refused())
case("9110 7.5", "an interim answer belongs to its request",
     (get(to="/1") + req("POST /2 HTTP/1.1", "Expect: 100-continue", "Content-Length: 3"), b"",
      b"abc" + get(to="/3")),
     seen("PATH /1"), CONTINUE, seen("PATH /2", body=b"abc"), seen("PATH /3"))
case("9110 7.6.1", "options have no case", get("Connection: ClOsE"), seen(closes=True))
case("9110 7.6.1", "Connection: Host does not hide Host", get("Connection: host"),
     seen("HEADER HTTP_HOST=h"))
case("9110 7.6.1", "Connection: Content-Length does not unframe",
     post(b"hello", "Connection: content-length"),
     seen(body=b"hello"))
case("9110 7.6.1", "Proxy-Connection is not Connection", get("Proxy-Connection: close"), seen())
case("9110 7.6.1", "Keep-Alive alone says nothing to 1.0",
     b"GET / HTTP/1.0\r\nKeep-Alive: 5\r\n\r\n", seen(), closes=True)
case("9110 7.6.1", "the application does not speak for the connection",
     get(to="/made?h1=Connection:close"), made(500, own=True))
for fields in (("Upgrade: websocket", "Connection: Upgrade"),
               ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings",
               "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
               ("Upgrade: TLS/1.0", "Connection: upgrade"),
               ("Upgrade: foo",), ("Connection: upgrade",)):
    case("9110 7.8", f"an Upgrade is not taken up: {' / '.join(fields)[:40]}",
         get(*fields) + get(to="/2"),
         seen(lacks=("Upgrade",)), seen("PATH /2"))
case("9110 7.8", "an Upgrade in 1.0 is ignored",
     b"GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: upgrade, keep-alive\r\n\r\n",
     seen(lacks=("Upgrade",)))
case("9110 7.8", "an Upgrade with a body: the body is read",
     post(b"hello", "Upgrade: websocket", "Connection: upgrade") + get(to="/2"),
     seen(body=b"hello"), seen("PATH /2"))
case("9110 7.8", "an Upgrade with a chunked body",
     chunked(FIVE + LAST, "Upgrade: h2c", "Connection: upgrade") + get(to="/2"),
     seen(body=b"hello"), seen("PATH /2"))
case("9110 7.8", "an Upgrade with an expectation",
     (req("POST / HTTP/1.1", "Upgrade: x", "Connection: upgrade", "Expect: 100-continue",
          "Content-Length: 3"), b"abc"),
     CONTINUE, seen(body=b"abc"))
case("9110 7.8", "an application cannot send 101", get(to="/made?status=101+Switching+Protocols"),
     made(500, own=True))

# ---- 8 Representations --------------------------------------------------------------------------

case("9110 8.3", "the server's own content has a type", get(to="no"),
     refused(has=(("Content-Type", "text/plain; charset=utf-8"),)))
case("9110 8.3", "the client's type reaches the application",
     post(b"{}", "Content-Type: application/json"),
     seen("HEADER CONTENT_TYPE=application/json", body=b"{}"))
case("9110 8.3", "the server guesses no type", get(to="/made?body=x"),
     made(200, content=b"x", lacks=("Content-Type",)))
case("9110 8.4", "codings of content are the application's", post(b"x", "Content-Encoding: br"),
     seen("HEADER HTTP_CONTENT_ENCODING=br", body=b"x"))
case("9110 8.4", "and Content-Encoding: chunked frames nothing",
     post(b"x", "Content-Encoding: chunked"), seen(body=b"x"))
case("9110 8.6", "the same length to HEAD as to GET", head("/made?body=hello"),
     made(200, to_head=True, has=(("Content-Length", "5"),)))
case("9110 8.6", "none to HEAD when GET's is not known", head("/made?parts=3"),
     made(200, to_head=True, lacks=("Content-Length",)))
case("9110 8.6", "the application's to HEAD", head("/made?parts=3&cl=12"),
     made(200, to_head=True, has=(("Content-Length", "12"),)))
case("9110 8.6", "none of its own in 304", get(to="/made?status=304+Not+Modified&body="),
     made(304, lacks=("Content-Length",)))
case("9110 8.6", "the application's in 304", get(to="/made?status=304+Not+Modified&body=&cl=99"),
     made(304, content=b"", has=(("Content-Length", "99"),)))
case("9110 8.6", "none in 204, though the application says one",
     get(to="/made?status=204+No+Content&body=&cl=0"),
     made(204, lacks=("Content-Length",)))
case("9110 8.6", "none in 100",
     (req("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: 1"), b"x"),
     Answer((100,), own=True, lacks=("Content-Length", "Transfer-Encoding")), seen(body=b"x"))
case("9110 8.6", "more octets than promised are not sent",
     get(to="/made?body=hello&cl=3") + get(to="/2"),
     made(200, content=b"hel"), seen("PATH /2"))
case("9110 8.6", "nor of an iterator", get(to="/made?parts=3&cl=6") + get(to="/2"),
     made(200, content=b"partpa"), seen("PATH /2"))
case("9110 8.6", "a length that is none is refused", get(to="/made?body=x&cl=-1"),
     made(500, own=True))
case("9110 8.6", "two lengths are refused", get(to="/made?body=x&cl=1&h1=Content-Length:1"),
     made(500, own=True))
for value in ("9223372036854775807", "9223372036854775808", "18446744073709551615", "4294967301",
              "16777217"):
    case("9110 8.6", f"large lengths do not overflow: {value}",
         req("POST / HTTP/1.1", f"Content-Length: {value}", body=b"hello"), refused(400, 413))

# ---- 9 Methods ----------------------------------------------------------------------------------

case("9110 9.1", "GET is supported", get(), seen("METHOD GET"))
case("9110 9.1", "HEAD is supported", head(), seen(to_head=True))
for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "PROPPATCH",
               "MKCOL", "COPY", "MOVE",
               "LOCK", "UNLOCK", "SEARCH", "REPORT", "MERGE", "ACL", "BIND", "LINK", "UNLINK",
               "MKCALENDAR"):
    case("9110 9.1", f"a method of the registry reaches the application: {method}",
         req(f"{method} /m HTTP/1.1"),
         seen(f"METHOD {method}", "PATH /m"))
for method in ("BASELINE-CONTROL", "CHECKIN", "LABEL", "MKREDIRECTREF", "ORDERPATCH", "UPDATE",
               "VERSION-CONTROL", "UPDATEREDIRECTREF"):
    case("9110 9.1", f"one that llhttp does not know reaches the application: {method}",
         req(f"{method} /m HTTP/1.1"), seen(f"METHOD {method}", "PATH /m"))
for method in ("DESCRIBE", "SETUP", "PLAY", "TEARDOWN"):
    case("9110 9.1", f"a name of another protocol's method is a token too: {method}",
         req(f"{method} / HTTP/1.1"), seen(f"METHOD {method}"))
case("9110 9.1", "PRI is HTTP/2's", req("PRI * HTTP/1.1"), refused(400, 501))
case("9110 9.1", "QUERY", req("QUERY /q HTTP/1.1", "Content-Length: 1", body=b"x"),
     seen("METHOD QUERY", "PATH /q", body=b"x"))
case("9110 9.3.1", "GET with content keeps in step",
     get("Content-Length: 5", body=b"hello") + get(to="/2"),
     seen(body=b"hello"), seen("PATH /2"))
case("9110 9.3.1", "GET with chunked content",
     get("Transfer-Encoding: chunked", body=FIVE + LAST) + get(to="/2"),
     seen(body=b"hello"), seen("PATH /2"))
for how in ("body=hello", "parts=3", "parts=3&cl=12", "status=404+Not+Found&body=x", "null=1",
            "status=204+No+Content"):
    case("9110 9.3.2", f"HEAD has no content: {how}", head(f"/made?{how}") + get(to="/2"),
         made(404 if "404" in how else 500 if "null" in how else 204 if "204" in how else 200,
              to_head=True),
         seen("PATH /2"))
case("9110 9.3.2", "HEAD has GET's fields", head("/made?body=x&h1=X-A:1&h2=ETag:y"),
     made(200, to_head=True, has=(("X-A", "1"), ("ETag", "y"), ("Content-Length", "1"))))
case("9110 9.3.2", "HEAD with a body keeps in step",
     req("HEAD / HTTP/1.1", "Content-Length: 5", body=b"hello") + get(to="/2"), seen(to_head=True),
     seen("PATH /2"))
case("9110 9.3.2", "a refused HEAD has no content", req("HEAD no HTTP/1.1"), refused(to_head=True))
case("9110 9.3.2", "nor one refused for its fields", req("HEAD / HTTP/1.1", "Content-Length: x"),
     refused(to_head=True))
case("9110 9.3.2", "nor one refused for its length",
     req("HEAD / HTTP/1.1", "Content-Length: 99999999"),
     refused(413, to_head=True))
case("9110 9.3.3", "POST hands its content to the application", post(b"a=1"),
     seen("METHOD POST", body=b"a=1"))
case("9110 9.3.4", "PUT too", req("PUT /p HTTP/1.1", "Content-Length: 3", body=b"abc"),
     seen("METHOD PUT", body=b"abc"))
case("9110 9.3.5", "DELETE without content", req("DELETE /p HTTP/1.1"), seen("METHOD DELETE"))
case("9110 9.3.5", "DELETE with content keeps in step",
     req("DELETE /p HTTP/1.1", "Content-Length: 3", body=b"abc") + get(to="/2"), seen(body=b"abc"),
     seen("PATH /2"))
for target in ("h:443", "h:", "h", "h:x", "[::1]:443", "h:0", "h:99999"):
    case("9110 9.3.6", f"CONNECT is rejected, and no tunnel: {target}",
         req(f"CONNECT {target} HTTP/1.1"), refused(501, 400))
case("9110 9.3.6", "authority-form is for CONNECT only", req("GET h:80 HTTP/1.1"), refused())
case("9110 9.3.6", "CONNECT of a path", req("CONNECT / HTTP/1.1"), refused(501, 400))
case("9110 9.3.7", "OPTIONS without content says length 0",
     req("OPTIONS /made?body=&h1=Allow:GET HTTP/1.1"),
     made(200, content=b"", has=(("Content-Length", "0"), ("Allow", "GET"))))
case("9110 9.3.7", "OPTIONS with content",
     req("OPTIONS / HTTP/1.1", "Content-Length: 2", body=b"hi"), seen(body=b"hi"))
case("9110 9.3.7", "OPTIONS * with Max-Forwards", req("OPTIONS * HTTP/1.1", "Max-Forwards: 0"),
     seen("PATH *"))
case("9110 9.3.8", "TRACE reaches the application", req("TRACE /t HTTP/1.1"),
     seen("METHOD TRACE", "PATH /t"))

# ---- 10 Context ---------------------------------------------------------------------------------

WAITS = ("Expect: 100-continue", "Content-Length: 5")
case("9110 10.1.1", "100 is sent before the content", (req("POST / HTTP/1.1", *WAITS), b"hello"),
     CONTINUE, seen(body=b"hello"))
case("9110 10.1.1", "for a chunked body",
     (req("POST / HTTP/1.1", "Expect: 100-continue", "Transfer-Encoding: chunked"),
                                           FIVE + LAST), CONTINUE, seen(body=b"hello"))
case("9110 10.1.1", "the expectation has no case",
     (req("POST / HTTP/1.1", "expect: 100-CONTINUE", "Content-Length: 5"),
                                                    b"hello"), CONTINUE, seen(body=b"hello"))
case("9110 10.1.1", "for PUT", (req("PUT / HTTP/1.1", *WAITS), b"hello"), CONTINUE,
     seen(body=b"hello"))
case("9110 10.1.1", "on 1.2", (req("POST / HTTP/1.2", *WAITS), b"hello"), CONTINUE,
     seen(body=b"hello"))
case("9110 10.1.1", "said twice",
     (req("POST / HTTP/1.1", "Expect: 100-continue", *WAITS), b"hello"), CONTINUE,
     seen(body=b"hello"))
case("9110 10.1.1", "once, though the content comes in pieces",
     (req("POST / HTTP/1.1", *WAITS), b"hello" + get(to="/2")), CONTINUE, seen(body=b"hello"),
     seen("PATH /2"))
case("9110 10.1.1", "twice on one connection",
     (req("POST / HTTP/1.1", *WAITS), b"hello", req("POST / HTTP/1.1", *WAITS), b"world"),
     CONTINUE, seen(body=b"hello"), CONTINUE, seen(body=b"world"))
case("9110 10.1.1", "with the content at hand it may be left out",
     post(b"hello", "Expect: 100-continue"),
     PERHAPS_CONTINUE, seen(body=b"hello"))
case("9110 10.1.1", "none without content: length 0", post(b"", "Expect: 100-continue"), seen())
case("9110 10.1.1", "none without content: no framing", get("Expect: 100-continue"), seen())
case("9110 10.1.1", "none to 1.0",
     b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
     seen(body=b"hello"), closes=True)
case("9110 10.1.1", "any expectation of 1.0 is ignored", b"GET / HTTP/1.0\r\nExpect: foo\r\n\r\n",
     seen(), closes=True)
for value in ("foo", "200-ok", "100-continue, foo", "100-continued", "100-continue=1", "100"):
    case("9110 10.1.1", f"another expectation is 417: {value}", post(b"hello", f"Expect: {value}"),
         refused(417))
case("9110 10.1.1", "a second field with another",
     post(b"hello", "Expect: 100-continue", "Expect: foo"), refused(417))
case("9110 10.1.1", "a refusal needs no content: 413",
     req("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: 99999999"),
     refused(413))
case("9110 10.1.1", "nor 501",
     req("POST / HTTP/1.1", "Expect: 100-continue", "Transfer-Encoding: gzip, chunked"),
     refused(501))
case("9110 10.1.1", "nor 400", req("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: x"),
     refused())
case("9110 10.1.1", "a final answer follows, also an error's",
     (req("POST /made?null=1 HTTP/1.1", *WAITS), b"hello" + get(to="/2")), CONTINUE,
     made(500, own=True), seen("PATH /2"))
case("9110 10.1.1", "an error in the content is final",
     (req("POST / HTTP/1.1", "Expect: 100-continue", "Transfer-Encoding: chunked"), b"x\r\n"),
     CONTINUE, refused())
case("9110 10.1.1", "the client may leave instead",
     (req("POST / HTTP/1.1", *WAITS), b""), CONTINUE, refused(), fin=True)
case("9110 10.1.4", "TE reaches the application", get("TE: trailers"),
     seen("HEADER HTTP_TE=trailers"))
case("9110 10.2.1", "Allow is the application's", get(to="/made?status=405+No&h1=Allow:GET&body=x"),
     made(405, has=(("Allow", "GET"),)))
case("9110 10.2.4", "Server is there and tells no version", get(), seen(has=(("Server", "gcorn"),)))
case("9110 10.2.4", "the application's Server is the only one",
     get(to="/made?h1=Server:mine&body=x"),
     made(200, has=(("Server", "mine"),)))

# ---- 15 Status codes ----------------------------------------------------------------------------

for status in (200, 299, 399, 499, 599, 600, 999):
    case("9110 15.1", f"a status without name passes: {status}",
         get(to=f"/made?status={status}+x&body=y"),
         made(status, content=b"y") if status < 600 else made(500, own=True))
case("9110 15.1", "a status below 100 is refused", get(to="/made?status=099+x"),
     made(500, own=True))
for status in ("100 Continue", "102 Processing", "103 Early Hints", "199 x"):
    case("9110 15.2", f"an application cannot answer with {status}",
         get(to=f"/made?status={status.replace(' ', '+')}"),
         made(500, own=True))
case("9110 15.2", "no 1xx to 1.0",
     b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n"
     b"Content-Length: 5\r\n\r\nhello", seen(body=b"hello"))
case("9110 15.2.1", "after 100 comes a final answer", (req("POST / HTTP/1.1", *WAITS), b"hello"),
     CONTINUE, seen(body=b"hello"))
case("9110 15.3.1", "200 to GET has content, perhaps of no length", get(to="/made?body="),
     made(200, has=(("Content-Length", "0"),)))
case("9110 15.3.5", "204 ends at its head", get(to="/made?status=204+No+Content"),
     made(204, content=b""))
for how in ("body=xyz", "parts=3", "body=xyz&cl=3", "body="):
    case("9110 15.3.6", f"205 has no content: {how}",
         get(to=f"/made?status=205+Reset+Content&{how}") + get(to="/2"),
         made(205, content=b""), seen("PATH /2"))
case("9110 15.4.5", "304 has no content and keeps its fields",
     get(to="/made?status=304+Not+Modified&h1=ETag:x&h2=Vary:y&h3=Cache-Control:z"),
     made(304, content=b"",
          has=(("ETag", "x"), ("Vary", "y"), ("Cache-Control", "z"), ("Date", None))))
case("9110 15.5", "an error explains itself", get(to="no"), refused(says="400 Bad Request: "))
case("9110 15.5", "but not to HEAD", req("HEAD no HTTP/1.1"), refused(to_head=True))
case("9110 15.5.1", "400", get("X A: 1"), refused(400, says="400 Bad Request: "))
case("9110 15.5.6", "405 keeps its Allow",
     get(to="/made?status=405+Method+Not+Allowed&h1=Allow:GET,+HEAD"),
     made(405, has=(("Allow", "GET, HEAD"),)))
case("9110 15.5.14", "413 by Content-Length, before the content",
     req("POST / HTTP/1.1", "Content-Length: 16777217"),
     refused(413, says="413 Content Too Large: "))
case("9110 15.5.14", "413 by a chunk's size, before the chunk", chunked(b"1000001\r\n"),
     refused(413))
case("9110 15.5.15", "414", get(to="/" + "a" * 4100), refused(414, says="414 URI Too Long: "))
case("9110 15.5.15", "414 of a query", get(to="/?" + "a" * 4100), refused(414))
case("9110 15.5.15", "414 of a line that does not end", b"GET /" + b"a" * 6000, refused(414),
     fin=True)
case("9110 15.5.18", "417", get("Expect: x"), refused(417, says="417 Expectation Failed: "))
case("9110 15.5.20", "421 for what the connection is not", get(to="https://h/"),
     refused(421, says="421 Misdirected Request: "))
case("9110 15.5.22", "426 names the protocol in Upgrade",
     get(to="/made?status=426+Upgrade+Required&h1=Upgrade:x"),
     made(500, own=True), exception="Upgrade is hop-by-hop, which PEP 3333 forbids to applications")
case("9110 15.6", "an error of the server explains itself", req("CONNECT h:1 HTTP/1.1"),
     refused(501, says="501 Not Implemented: "))
case("9110 15.6.1", "500 when the application fails", get(to="/made?null=1"),
     made(500, own=True, says="500 Internal Server Error"))
case("9110 15.6.1", "500 when it fails before its first octet", get(to="/made?parts=3&fail=0"),
     made(500, own=True))
case("9110 15.6.2", "501", req("CONNECT h:1 HTTP/1.1"), refused(501, says="CONNECT"))
case("9110 15.6.6", "505 says what is spoken instead", req("GET / HTTP/2.0"),
     refused(505, says="1.0 and 1.1"))
