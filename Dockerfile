# A server that labels videos, with its page: docs/deploy.md. It has no CUDA, unless TORCH_INDEX is that of PyTorch for a GPU.
#
#   docker build -t smallbig .
#   docker build -t smallbig:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 --build-arg EXTRAS=serve .
#   docker run -p 8000:8000 -v models:/models smallbig serve /models/mine

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=serve,onnx,openvino
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/smallbig
ENV PATH=/opt/smallbig/bin:$PATH
# Before the package, so that a change of its code does not download PyTorch again
RUN pip install "torch>=2.6" "torchvision>=0.21" --index-url "${TORCH_INDEX}"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src src
# hadolint ignore=DL3013
RUN pip install ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --create-home smallbig
COPY --from=build /opt/smallbig /opt/smallbig
COPY --chmod=755 deploy/entrypoint.sh /usr/local/bin/entrypoint
ENV PATH=/opt/smallbig/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/smallbig
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["entrypoint"]
CMD ["--help"]
