"""What `bg-remover serve` does under load: `python benchmarks/server.py [--requests 2000]
[--clients 16]`.

Sends a sample photo that many times, with so many clients at once, each of which waits for its
answer and, told 503, for as long as Retry-After says. Prints a row: answers by status, photos/s,
latency of the answered requests (without the waits in between) at the 50th, 95th and 99th
percentile, and the server's own memory after 200 requests and at the end. Then a second server is
killed in the middle of its work, and the clients must get an error rather than hang. Writes
benchmarks/results/server.csv. Linux alone.
"""
import argparse
import http.client
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

from claims import write_table

root = Path(__file__).resolve().parent.parent
photo = (root / "nbs/samples/mini_coco/val2017/000000343937.jpg").read_bytes()
table = Path(__file__).parent / "results/server.csv"


def start() -> tuple[subprocess.Popen, int]:
    "A server of its own, and its port."
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port = any_port.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "bg_remover", "serve", "--port", str(port)],
                               stderr=subprocess.DEVNULL)
    while socket.socket().connect_ex(("127.0.0.1", port)):
        if process.poll() is not None: sys.exit("the server did not start")
        time.sleep(0.1)
    return process, port


def megabytes(process: subprocess.Popen) -> float:
    "The memory that is the server's own."
    lines = Path(f"/proc/{process.pid}/status").read_text()
    return int(lines.split("RssAnon:")[1].split()[0]) / 1e3


def ask(port: int) -> tuple[int, float]: # status, seconds; 0: the server has gone
    "One request."
    begun = time.perf_counter()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("POST", "/remove?format=webp", photo)
        answer = connection.getresponse()
        answer.read()
        connection.close()
    except (OSError, http.client.HTTPException): return 0, time.perf_counter() - begun
    if answer.status == 503: time.sleep(float(answer.headers["Retry-After"]) / 4)
    return answer.status, time.perf_counter() - begun


def load(port: int, process: subprocess.Popen, requests: int, clients: int) -> dict:
    "All requests; a request that is told to come back is sent again."
    statuses, latencies, memory = Counter(), [], {}
    lock, left = threading.Lock(), iter(range(requests))
    def client():
        for number in iter(lambda: next(left, None), None):
            while (answer := ask(port))[0] == 503: statuses[503] += 1
            with lock:
                statuses[answer[0]] += 1
                latencies.append(answer[1])
                if len(latencies) == 200: memory["after 200"] = megabytes(process)
    begun = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    seconds, (p50, p95, p99) = time.perf_counter() - begun, np.percentile(latencies, (50, 95, 99))
    return dict(requests=requests, clients=clients, answered=statuses[200],
                told_to_wait=statuses[503], other=requests - statuses[200],
                photos_per_second=requests / seconds, p50_s=p50, p95_s=p95, p99_s=p99,
                megabytes_after_200=memory.get("after 200", 0),
                megabytes_at_the_end=megabytes(process))


def killed_in_the_middle() -> dict:
    "What clients get of a server that is killed: an answer or an error, at once."
    process, port = start()
    found = []
    threads = [threading.Thread(target=lambda: found.append(ask(port))) for _ in range(8)]
    for thread in threads: thread.start()
    time.sleep(0.3)
    process.kill()
    for thread in threads: thread.join(timeout=30)
    return dict(answered=sum(status == 200 for status, _ in found),
                refused=sum(status != 200 for status, _ in found), hanging=8 - len(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    process, port = start()
    try: row = load(port, process, options.requests, options.clients)
    finally: process.terminate()
    row = {name: round(float(value), 3) if isinstance(value, float) else value
           for name, value in row.items()}
    print(row, "\nkilled in the middle:", killed_in_the_middle())
    write_table(table, [row])
