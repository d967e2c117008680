# Pin it by digest for a build that can be repeated: --build-arg NODE_IMAGE=node:24-slim@sha256:...
# (docker buildx imagetools inspect node:24-slim). The tag alone follows security updates of Debian and Node.
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund
COPY samples ./samples
COPY src ./src
# Node's compile cache serves the user that made it only. The code and the dependencies stay root's.
RUN mkdir -p node_modules/.cache && chown -R node node_modules/.cache
USER node
RUN npm run -s prepare

FROM ${NODE_IMAGE}

# ffmpeg serves BACKEND=local; an image for BACKEND=modal alone can leave it out. tini is the init that ends what ffmpeg or
# LOCAL_COMMAND leave behind, also where no `docker run --init` is possible, as in Kubernetes.
ARG WITH_FFMPEG=true
RUN apt-get update && \
    apt-get install -y --no-install-recommends tini $(if [ "$WITH_FFMPEG" = true ]; then echo ffmpeg; fi) && \
    rm -rf /var/lib/apt/lists/*

# Package managers are of use only to somebody who broke in.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
      /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn-*

WORKDIR /app
COPY --from=build /app ./

ENV NODE_ENV=production DATA_DIR=/data NODE_COMPILE_CACHE=node_modules/.cache/compile MALLOC_ARENA_MAX=1
RUN mkdir /data && chown node:node /data
VOLUME /data
USER node
EXPOSE 9000

HEALTHCHECK --interval=30s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 9000}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

# Nothing is written outside of /data and /tmp: run it with a read-only root, as compose.yaml and docs/kubernetes.yaml do.
# `-s`: also below another init, such as that of `docker run --init`.
ENTRYPOINT ["tini", "-s", "--"]
# Garbage is collected sooner than by default. Memory with 3,000 calls in flight, with: 340 MB, without: 600 to 660 MB
# (BENCH_SCALE=0.3 npm run bench -- inflight/10,000). The flags of `npm start` are the same.
CMD ["node", "--max-semi-space-size=8", "--heap-growing-percent=25", "src/server.ts"]

# Last, since they differ with each build.
ARG VERSION=dev
ARG REVISION=
ARG SOURCE=
LABEL org.opencontainers.image.title="MuseTalk Orchestrator" \
      org.opencontainers.image.description="A REST job server for MuseTalk lip-sync video on Modal." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE"
