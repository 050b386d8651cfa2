"""An API server that knows ConfigMaps alone: create, read and replace, with resourceVersion as Kubernetes has it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ApiServer:
    """Serves on a free port of this machine while the context is open."""

    def __enter__(self):
        objects, lock = {}, threading.Lock()
        self.objects = objects

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, body):
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def status(self, code, reason):
                self.answer(code, {"kind": "Status", "status": "Failure", "reason": reason, "code": code})

            def body(self):
                return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

            def key(self):
                parts = self.path.partition("?")[0].split("/")
                return parts[4], parts[6] if len(parts) > 6 else None

            def store(self, namespace, name, body, version):
                metadata = {**body["metadata"], "namespace": namespace, "resourceVersion": str(version)}
                objects[namespace, name] = {"kind": "ConfigMap", "apiVersion": "v1", **body, "metadata": metadata}
                self.answer(200, objects[namespace, name])

            def do_GET(self):
                with lock:
                    if self.key() in objects:
                        self.answer(200, objects[self.key()])
                    else:
                        self.status(404, "NotFound")

            def do_POST(self):
                body = self.body()
                key = self.key()[0], body["metadata"]["name"]
                with lock:
                    if key[0] == "forbidden":
                        self.status(403, "Forbidden")
                    elif key in objects:
                        self.status(409, "AlreadyExists")
                    else:
                        self.store(*key, body, 1)

            def do_PUT(self):
                body = self.body()
                with lock:
                    version = objects[self.key()]["metadata"]["resourceVersion"]
                    if body["metadata"].get("resourceVersion") not in (None, version):
                        self.status(409, "Conflict")
                    else:
                        self.store(*self.key(), body, int(version) + 1)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
