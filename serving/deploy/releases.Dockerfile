# `crossrec release` without TensorFlow, for the pod that moves versions. The context is the repository.
#   docker build --file serving/deploy/releases.Dockerfile --tag shop/crossrec-releases:0.1.0 .
ARG PYTHON_VERSION=3.12
FROM python:${PYTHON_VERSION}-slim AS build
COPY . /source
RUN pip install --no-cache-dir --prefix=/install /source "kubernetes>=26.1,<38"

FROM python:${PYTHON_VERSION}-slim
COPY --from=build /install /usr/local
USER 65532:65532
ENTRYPOINT ["crossrec"]
CMD ["release", "--help"]
