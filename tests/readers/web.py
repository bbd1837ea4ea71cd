"""Plain HTTP to a DVID server, with the standard library only."""

import http.client
import json
import urllib.parse


class HttpError(Exception):
    """The server's answer was not 200."""

    def __init__(self, method, path, status, text):
        super().__init__(f"{method} {path}: {status} {text[:300]}")
        self.status = status
        self.text = text


def quoted(name):
    """An instance name as one part of a path."""
    return urllib.parse.quote(name, safe="")


class Web:
    """One server, `http://host:port`. A request is one connection."""

    def __init__(self, origin, timeout=180):
        self.origin = origin.rstrip("/")
        parts = urllib.parse.urlsplit(self.origin)
        self.host, self.port, self.timeout = parts.hostname, parts.port or 80, timeout

    def request(self, method, path, body=None):
        """The body of a 200 answer, all of it."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise HttpError(method, path, answer.status, data.decode("utf-8", "replace"))
        return data

    def get(self, path):
        return self.request("GET", path)

    def get_json(self, path):
        return json.loads(self.get(path))

    def post(self, path, body=b""):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        return self.request("POST", path, body)

    def post_json(self, path, body):
        answer = self.post(path, body)
        return json.loads(answer) if answer else None

    def alive(self):
        """Whether something answers DVID's heartbeat."""
        try:
            return bool(self.get("/api/heartbeat"))
        except (OSError, http.client.HTTPException, HttpError):
            return False
