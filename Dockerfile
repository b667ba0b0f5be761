# The container image: the program, linked statically, on an empty base. docs/deployment.md has the commands.
#
# Where no base image can be pulled, a folder takes the place of the stage `build`: `--build-context build=FOLDER`, with
# the image's files in FOLDER/image. tests/image/build does that.

FROM rust:1.95.0-bookworm AS build
WORKDIR /paybridge
# Static linking is for the program alone: with a target named, even this machine's own, build scripts and macros go without.
ENV CARGO_BUILD_TARGET=host-tuple \
    RUSTFLAGS="-C target-feature=+crt-static" \
    SOURCE_DATE_EPOCH=0
# The dependencies have a layer of their own, made anew only when their list changes: they are built for an empty program.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' > build.rs \
    && cp build.rs src/main.rs \
    && cargo build --locked --release --bin paybridge \
    && cargo clean --release --package paybridge
COPY build.rs ./
COPY proto proto
COPY src src
RUN cargo build --locked --release --bin paybridge
COPY tests/image/root tests/image/root
RUN tests/image/root target/*/release/paybridge /image

FROM scratch
COPY --from=build /image /
# Certificates: the OpenSSL inside, which Kafka's client uses, would look elsewhere. Pages: huge ones, where the system gives
# them unasked, would make the process some 30 MiB larger.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    MIMALLOC_ALLOW_THP=0
# Nobody, and not by name: Kubernetes has to see that it is not root.
USER 65532:65532
# Webhooks; probes and metrics.
EXPOSE 8080 9090
ENTRYPOINT ["/paybridge"]
CMD ["run"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="paybridge" \
      org.opencontainers.image.description="Takes payment providers' webhooks, proves them, and publishes them as protobuf messages on Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
