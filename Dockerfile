# syntax=docker/dockerfile:1

# For those who build with Docker. Releases come from `make images`, which needs no daemon and gives the same digests
# everywhere; hack/images holds this file against it.
#
#   docker buildx build --tag devicetwin-operator .
#   docker buildx build --target hubemulator --tag hubemulator .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
RUN --mount=type=bind,source=go.mod,target=go.mod --mount=type=bind,source=go.sum,target=go.sum \
    --mount=type=cache,target=/go/pkg/mod \
    go mod download
ARG TARGETOS TARGETARCH
RUN --mount=type=bind,target=. \
    --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH make build BIN=/out && mkdir /data

FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY LICENSE /licenses/LICENSE
USER 65532:65532

FROM base AS devicesim
COPY --from=build /out/devicesim /devicesim
ENTRYPOINT ["/devicesim"]

FROM base AS hubemulator
COPY --from=build /out/hubemulator /hubemulator
COPY --from=build --chown=65532:65532 --chmod=0700 /data /data
WORKDIR /data
ENTRYPOINT ["/hubemulator"]
CMD ["--https-address=:8443", "--mqtt-address=:8883"]

FROM base AS kubectl-twin
COPY --from=build /out/kubectl-twin /kubectl-twin
ENTRYPOINT ["/kubectl-twin"]

FROM base AS manager
COPY --from=build /out/manager /manager
ENTRYPOINT ["/manager"]
