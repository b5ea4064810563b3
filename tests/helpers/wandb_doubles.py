"""Weights & Biases for tests: a reader of its files, and a server on this machine."""

import http.server
import json
import struct
import threading


def read_run_file(path):
    """The records of a run file: a header, then LevelDB's log format in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record
    data = path.read_bytes()
    assert data[:4] == b':W&B'
    records, parts, at = [], b'', 7
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # too little for the header of a record: filled with zeros
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack('<IHB', data[at:at + 7])
        if kind == 0:
            break
        parts += data[at + 7:at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # the whole record, or the last part of one
            records.append(Record.FromString(parts))
            parts = b''
    return records


def history(path):
    """What was logged: a dict for each call of log."""
    rows = [{item.key or '/'.join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            for record in read_run_file(path) if record.WhichOneof('record_type') == 'history']
    return [{key: value for key, value in row.items() if not key.startswith('_')} for row in rows]


class Server:
    """As much of the server of Weights & Biases as a run needs: it knows no run yet, makes one, and takes lines and files.

    received: the bytes of all lines and files so far.
    """

    def __init__(self):
        self._http = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self._http.received = b''
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def received(self):
        return self._http.received

    def stop(self):
        self._http.shutdown()
        self._http.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    """Its answers; the three that matter are GraphQL."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        project = dict(id='UA==', name='p', entity=dict(id='RQ==', name='e'))
        data = {}
        if b'RunResumeStatus' in body:
            data = dict(model=dict(**project, bucket=None))
        elif b'UpsertBucket' in body:
            data = dict(upsertBucket=dict(inserted=True, bucket=dict(id='QQ==', name='x', project=project, historyLineCount=0)))
        elif b'CreateRunFiles' in body:
            url = f'http://127.0.0.1:{self.server.server_port}/'
            files = [dict(name=name, uploadUrl=url + name) for name in json.loads(body)['variables']['files']]
            data = dict(createRunFiles=dict(runID='QQ==', uploadHeaders=[], files=files))
        else:
            self.server.received += body
        answer = json.dumps(dict(data=data)).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST

    def log_message(self, *args):
        pass
