"""gunicorn in `make bench`: its application."""
import os

HEADERS = [("Content-Type", "text/plain")]
BODY = b"x" * 100 * 1024


def application(environ, start_response):
    path = environ["PATH_INFO"]
    body = BODY if path == "/body" else b"Hello, World!"
    size = len(body)
    if path.startswith("/file/"):
        file = open(os.environ["BENCH_FILE"], "rb")
        size = os.fstat(file.fileno()).st_size
    else:
        while environ["wsgi.input"].read(65536):
            pass
    start_response("200 OK", [*HEADERS, ("Content-Length", str(size))])
    return environ["wsgi.file_wrapper"](file) if path.startswith("/file/") else [body]
