# The server in a container, for a machine that other machines reach:
#
#     docker build -t bg-remover .
#     docker run --rm --read-only --tmpfs /tmp --cap-drop ALL -p 127.0.0.1:7860:7860 bg-remover
#
# Anybody who reaches the port can use it: to let others in, put a proxy with a password before it.
FROM python:3.11-slim AS build
COPY constraints.txt settings.ini setup.py pyproject.toml MANIFEST.in README.md LICENSE /source/
COPY bg_remover /source/bg_remover
RUN python -m venv /opt/bg-remover \
    && /opt/bg-remover/bin/pip install --no-cache-dir -c /source/constraints.txt "/source[server]"

FROM python:3.11-slim
# What OpenCV's wheel takes from the system.
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* && useradd --system --no-create-home server
COPY --from=build /opt/bg-remover /opt/bg-remover
USER server
EXPOSE 7860
HEALTHCHECK CMD ["/opt/bg-remover/bin/python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/health', timeout=5)"]
ENTRYPOINT ["/opt/bg-remover/bin/bg-remover", "serve", "--host", "0.0.0.0"]
