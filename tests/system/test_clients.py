"""Real clients, each proving something that it is known to be particular about."""
import http.client
import socket
import subprocess

from harness import PATIENCE, tool


def client(name, *args, **options):
    return subprocess.run([tool(name), *args], capture_output=True, text=True, timeout=12 * PATIENCE,
                          check=False, **options)


def test_curl_waits_for_continue_and_reuses_its_connection(gcorn, tmp_path):
    server = gcorn("environ")
    body = tmp_path / "body"
    body.write_bytes(b"b" * 2_000_000)
    url = f"http://127.0.0.1:{server.port}/"
    done = client("curl", "-sv", "-H", "Expect: 100-continue", "--data-binary", f"@{body}", url, url)
    assert done.returncode == 0
    assert done.stderr.count("< HTTP/1.1 100 Continue") == 2
    assert "Re-using existing connection" in done.stderr
    assert done.stdout.count("BODY 2000000\n") == 2


def test_curl_is_told_413_before_it_sends_its_body(gcorn, tmp_path):
    server = gcorn("environ", "--limit-request-body", "1000")
    body = tmp_path / "body"
    body.write_bytes(b"b" * 50_000_000)
    done = client("curl", "-s", "-w", "%{http_code} %{size_upload}", "-H", "Expect: 100-continue",
                "-o", "/dev/null", "--data-binary", f"@{body}", f"http://127.0.0.1:{server.port}/")
    assert done.stdout == "413 0"


def test_client_that_sends_first_still_gets_413(gcorn, tmp_path):
    """Without Expect: the answer must not be lost to a reset."""
    server = gcorn("environ", "--limit-request-body", "1000")
    body = tmp_path / "body"
    body.write_bytes(b"b" * 3_000_000)
    done = client("curl", "-s", "-w", "%{http_code}", "-H", "Expect:", "-o", "/dev/null",
                "--data-binary", f"@{body}", f"http://127.0.0.1:{server.port}/")
    assert done.stdout == "413"


def test_ab_keeps_http_1_0_connections(gcorn):
    server = gcorn("hello", "--workers", "2")
    done = client("ab", "-q", "-k", "-n", "2000", "-c", "10", f"http://127.0.0.1:{server.port}/")
    assert "Failed requests:        0" in done.stdout
    assert "Keep-Alive requests:    2000" in done.stdout
    done = client("ab", "-q", "-n", "500", "-c", "10", f"http://127.0.0.1:{server.port}/")
    assert "Failed requests:        0" in done.stdout


def test_http_client_sends_chunks_and_goes_on(gcorn):
    server = gcorn("environ")
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    for turn in range(20):
        client.request("POST", f"/{turn}", body=iter([b"a" * 1000, b"", b"b" * 70000]),
                       headers={"Content-Type": "x/y"}, encode_chunked=True)
        answer = client.getresponse()
        assert answer.status == 200
        assert b"BODY 71000\n" in answer.read()
    client.request("HEAD", "/")
    answer = client.getresponse()
    assert answer.read() == b"" and int(answer.getheader("Content-Length")) > 0
    client.request("GET", "/last")
    assert b"PATH /last\n" in client.getresponse().read()
    client.close()


NODE = """
const base = process.argv[1];
const agent = new (require('http').Agent)({keepAlive: true, maxSockets: 4});
const get = (path, options = {}) => new Promise((resolve, reject) => {
  const request = require('http').get(base + path, {agent, ...options}, answer => {
    let text = '';
    answer.on('data', piece => { text += piece; });
    answer.on('end', () => resolve(text));
    answer.on('error', reject);
  });
  request.on('error', reject);
});
(async () => {
  for (let turn = 0; turn < 50; turn++) {
    const texts = await Promise.all([...Array(8).keys()].map(i => get(`/${turn}-${i}`)));
    texts.forEach((text, i) => {
      if (!text.includes(`PATH /${turn}-${i}\\n`)) throw new Error(text);
    });
    const abort = new AbortController();
    const left = fetch(base + '/left', {method: 'POST', body: 'x'.repeat(1 << 20),
                                        signal: abort.signal}).catch(() => 'aborted');
    setTimeout(() => abort.abort(), turn % 3);
    await left;
  }
  const answer = await fetch(base + '/fetch', {method: 'POST', body: 'hello'});
  if (!(await answer.text()).endsWith('BODY 5\\nhello')) throw new Error('fetch');
  console.log('fine');
  process.exit(0);
})().catch(error => { console.error(error); process.exit(1); });
"""


def test_node_keeps_connections_alive_and_aborts(gcorn):
    server = gcorn("environ", "--workers", "2")
    done = client("node", "-e", NODE, f"http://127.0.0.1:{server.port}")
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr
    assert server.get("/after").status == 200


def test_client_that_resets_harms_no_other(gcorn):
    """RST in every state: connected, within a head, a body, an answer."""
    server = gcorn("environ")
    sent = [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nab",
            b"GET / HTTP/1.1\r\nHost: t\r\n\r\n" * 200]
    for data in sent * 10:
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(data)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    assert server.get("/after").status == 200
    assert "[ERROR]" not in server.log()
