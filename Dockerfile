# syntax=docker/dockerfile:1
# sam3-serve as images. A node pulls only what it runs.
#
#   docker build --target cpu  -t sam3-serve:0.1.0      .   everything, and the bundled model on CPUs: a laptop, the demo
#   docker build --target http -t sam3-serve-http:0.1.0 .   the head, HTTP nodes, the store: no torch, no CUDA
#   docker build --target cuda -t sam3-serve-cuda:0.1.0 .   GPU nodes: as cpu, and a C compiler for torch.compile
#
#   docker run --rm -p 9001:9001 --shm-size 2g -e SAM3_ALLOW_OPEN=true sam3-serve:0.1.0
#
# Weights are not in them: mount them (SAM3_CHECKPOINT), or give HF_TOKEN. Versions are those of constraints.txt. PyPI's torch is
# built for CUDA 13 (6 GB with its libraries), which needs a driver from 580 on. PyTorch's own indexes have others, each at an address
# of its own: name the one of CPU wheels by --build-arg CPU_WHEELS, and for an older driver the one of a CUDA 12 by --build-arg CUDA_WHEELS.
ARG PYTHON=3.11.14

FROM python:${PYTHON}-slim-bookworm AS build
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
WORKDIR /src
# /opt/sam3 holds dependencies, gigabytes that change with constraints.txt; /opt/app the code, a layer of its own of a few MB.
RUN python -m venv /opt/sam3 && echo /opt/app > /opt/sam3/lib/python3.11/site-packages/app.pth
ENV PATH=/opt/sam3/bin:$PATH
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
# The model's dependencies, and all the rest.
RUN python -c "import tomllib; \
project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = [name for name in '${EXTRAS}'.split(',') if name]; \
every = project['dependencies'] + [each for name in extras for each in project['optional-dependencies'][name]]; \
model = tuple('sam3~ torch open_clip'.split()); \
open('all.txt', 'w').write('\n'.join(every)); \
open('http.txt', 'w').write('\n'.join(each for each in every if not each.startswith(model)))"

FROM build AS http-dependencies
RUN pip install --constraint constraints.txt --requirement http.txt && pip check

FROM build AS cpu-dependencies
ARG CPU_WHEELS=""
RUN PIP_EXTRA_INDEX_URL="${CPU_WHEELS}" pip install --constraint constraints.txt --requirement all.txt && pip check

FROM build AS cuda-dependencies
ARG CUDA_WHEELS=""
RUN PIP_EXTRA_INDEX_URL="${CUDA_WHEELS}" pip install --constraint constraints.txt --requirement all.txt && pip check

FROM http-dependencies AS code
COPY sam3_engine sam3_engine
COPY deployments deployments
COPY serve_app serve_app
# The last one is the program that Serve starts as HAProxy: its statistics stay on loopback.
RUN pip install --no-deps --target /opt/app . \
    && python -m compileall -q /opt/app/sam3_engine /opt/app/deployments /opt/app/serve_app \
    && python -m serve_app.cli.haproxy /opt/app/bin/sam3-haproxy

FROM python:${PYTHON}-slim-bookworm AS system
# wget: probes. procps: Ray. libgl1, libglib2.0-0: OpenCV. tini: reaps what Ray leaves.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget procps libgl1 libglib2.0-0 libgomp1 tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 sam3 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp sam3 \
    && ln -s /opt/app/bin/sam3-haproxy /usr/local/bin/sam3-haproxy
# HOME and caches are under /tmp: the root file system may be read-only.
ENV PATH=/opt/app/bin:/opt/sam3/bin:$PATH HOME=/tmp HF_HOME=/tmp/huggingface TORCHINDUCTOR_CACHE_DIR=/tmp/inductor \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SAM3_HOST=0.0.0.0 SAM3_PORT=9001
WORKDIR /tmp
USER 10001:10001
EXPOSE 9001
ENTRYPOINT ["tini", "--"]

FROM system AS http
COPY --from=http-dependencies /opt/sam3 /opt/sam3
COPY --from=code /opt/app /opt/app

FROM system AS cuda
# The driver comes from the node; the libraries came with torch. Triton compiles its launchers.
USER 0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
# No NVIDIA_VISIBLE_DEVICES: `docker run --gpus` and Kubernetes set it, and an init container must not see every GPU.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
COPY --from=cuda-dependencies /opt/sam3 /opt/sam3
COPY --from=code /opt/app /opt/app
CMD ["sam3-serve", "up"]

# The last one, so that `docker build .` makes it.
FROM system AS cpu
COPY --from=cpu-dependencies /opt/sam3 /opt/sam3
COPY --from=code /opt/app /opt/app
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
    CMD ["wget", "--quiet", "--tries=1", "--timeout=4", "--output-document=-", "http://localhost:9001/readiness"]
CMD ["sam3-serve", "up"]
