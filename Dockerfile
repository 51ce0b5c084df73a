# syntax=docker/dockerfile:1
# sam3-serve as an image.
#
#   docker build --target cuda -t sam3-serve:cuda .     GPU nodes: as cpu, and a C compiler for torch.compile
#   docker build --target cpu  -t sam3-serve:cpu  .     the head, HTTP, and the bundled model
#
#   docker run --rm -p 9001:9001 --shm-size 2g -e SAM3_ALLOW_OPEN=true sam3-serve:cpu
#
# Weights are not in it: mount them (SAM3_CHECKPOINT), or give it HF_TOKEN. Versions are those of constraints.txt. The
# torch of PyPI brings CUDA with it (6 GB); for a small cpu image name PyTorch's own index of
# CPU wheels by --build-arg PIP_EXTRA_INDEX_URL=...
ARG PYTHON=3.11.14

FROM python:${PYTHON}-slim-bookworm AS build
ARG PIP_EXTRA_INDEX_URL=""
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
WORKDIR /src
RUN python -m venv /opt/sam3
ENV PATH=/opt/sam3/bin:$PATH
# What it depends on first: code changes more often.
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
RUN mkdir sam3_engine deployments serve_app && touch sam3_engine/__init__.py deployments/__init__.py serve_app/__init__.py
RUN pip install --constraint constraints.txt ".${EXTRAS:+[$EXTRAS]}"
COPY sam3_engine sam3_engine
COPY deployments deployments
COPY serve_app serve_app
# The last one is the program that Serve starts as HAProxy: its statistics stay on loopback.
RUN pip install --no-deps --force-reinstall . \
    && pip check \
    && python -m compileall -q /opt/sam3/lib/python3.11/site-packages/sam3_engine \
        /opt/sam3/lib/python3.11/site-packages/deployments /opt/sam3/lib/python3.11/site-packages/serve_app \
    && python -m serve_app.cli.haproxy /opt/sam3/bin/sam3-haproxy

FROM python:${PYTHON}-slim-bookworm AS cpu
# wget: the operator's probes. procps: Ray. libgl1, libglib2.0-0: OpenCV. tini: reaps what Ray leaves.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget procps libgl1 libglib2.0-0 libgomp1 tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 sam3 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp sam3
COPY --from=build /opt/sam3 /opt/sam3
RUN ln -s /opt/sam3/bin/sam3-haproxy /usr/local/bin/sam3-haproxy
# HOME and caches are under /tmp: the root file system may be read-only.
ENV PATH=/opt/sam3/bin:$PATH HOME=/tmp HF_HOME=/tmp/huggingface TORCHINDUCTOR_CACHE_DIR=/tmp/inductor \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SAM3_HOST=0.0.0.0 SAM3_PORT=9001
WORKDIR /tmp
USER 10001:10001
EXPOSE 9001
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
    CMD ["wget", "--quiet", "--tries=1", "--timeout=4", "--output-document=-", "http://localhost:9001/readiness"]
ENTRYPOINT ["tini", "--"]
CMD ["sam3-serve", "up"]

FROM cpu AS cuda
# The driver comes from the node; the libraries came with torch. Triton compiles its launchers.
USER 0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
