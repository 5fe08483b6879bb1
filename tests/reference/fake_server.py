"""An OpenAI-compatible server on 127.0.0.1 that answers as a test wants it to."""

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def text(content, **more):
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    usage = {"prompt_tokens": 100, "completion_tokens": 2}
    return {"id": "x", "choices": [choice], "usage": usage, **more}


def logprobs(probs):
    """An answer with the first token's alternatives; probabilities by token."""
    answer = text("1")
    top = [{"token": t, "logprob": math.log(p) if p else -9999.0} for t, p in probs.items()]
    answer["choices"][0]["logprobs"] = {"content": [{"token": "1", "top_logprobs": top}]}
    return answer


class Server:
    """`behave(request, n)` answers the n-th request: a dict (JSON), bytes (as they are), or a
    function of the handler."""

    def __init__(self, behave):
        self.bodies, self.now, self.most, lock = [], 0, 0, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self_):  # noqa: N805
                body = json.loads(self_.rfile.read(int(self_.headers["content-length"])))
                with lock:
                    self.bodies.append(body)
                    n = len(self.bodies)
                    self.now += 1
                    self.most = max(self.most, self.now)
                try:
                    answer = behave(body, n)
                finally:
                    # Before the answer is sent: the client's next call may follow at once.
                    with lock:
                        self.now -= 1
                try:
                    if callable(answer):
                        answer(self_)
                    else:
                        send(self_, 200, answer)
                except OSError:
                    pass  # the client hung up, as it should

            def log_message(self_, *_):  # noqa: N805
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def close(self):
        self.http.shutdown()
        self.http.server_close()


def send(handler, status, answer, **headers):
    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    handler.send_response(status)
    for name, value in {"content-type": "application/json", **headers}.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.send_header("content-length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


# --- servers with a quirk ----------------------------------------------------------------------


def says(content, finish="stop", **message):
    """An answer with further fields in its message, as servers that let a model think give it."""
    answer = text(content)
    answer["choices"][0]["message"] |= message
    answer["choices"][0]["finish_reason"] = finish
    return answer


def refuses(message, status=400, **error):
    return lambda handler: send(handler, status, {"error": {"message": message, **error}})


def limited(most, message, probs):
    """Gives log-probabilities, but no more than `most` of a token: else it refuses with a message
    (None for never any), and without being asked for them it answers with "1"."""

    def behave(body, n):
        if "top_logprobs" not in body:
            return text("1")
        if body["top_logprobs"] > most:
            return refuses(message)
        listed = sorted(probs, key=probs.get, reverse=True)[: body["top_logprobs"]]
        return logprobs({token: probs[token] for token in listed})

    return behave
