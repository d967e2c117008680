// Made from the reference of the server by `npm run client:types`. Do not edit.

export interface paths {
    "/jobs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List jobs
         * @description Your jobs, newest first. For the next page, follow the `Link` of this one, or send its `next_cursor` with the same filters. All filters that are given apply. Every page is read along the indexes of its filters: only of labels that many jobs have, but few together, a page takes longer the more jobs there are.
         *
         *     Needs the scope `jobs:read`.
         */
        get: operations["listJobs"];
        put?: never;
        /**
         * Submit a job
         * @description Accepts a job and answers at once, without waiting for the backend, unless `Prefer` asks to wait until it finishes. Poll `Location` for its state. An accepted job finishes by its deadline at the latest. Face and speech may be files, in multipart/form-data; an upload has no time limit while it makes progress.
         *
         *     Needs the scope `jobs:write`.
         */
        post: operations["submitJob"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get a job
         * @description The job as it is now; with `wait`, as it is when it finishes or the time is up. A running job has its `progress` from the second request on, while less than 30 s pass between two of them. With `If-None-Match` a long poll that ends with the job as you have it is answered 304.
         *
         *     Needs the scope `jobs:read`.
         */
        get: operations["getJob"];
        put?: never;
        post?: never;
        /**
         * Delete a job
         * @description Deletes a finished job, its uploaded files, and its video on this server; files at Modal stay until they expire there. Its `Idempotency-Key` can be used again.
         *
         *     Needs the scope `jobs:write`.
         */
        delete: operations["deleteJob"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{id}/result": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get the result
         * @description The result of a job that succeeded.
         *
         *     Needs the scope `jobs:read`.
         */
        get: operations["getResult"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Cancel a job
         * @description Cancels the job at once; its call is stopped in the background. Canceling again is no error.
         *
         *     Needs the scope `jobs:write`.
         */
        post: operations["cancelJob"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{id}/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Retry a job
         * @description Starts a failed or canceled job again: the same id, the next attempt, a new deadline. A job may be retried `MAX_RETRIES` times (100 by default).
         *
         *     Needs the scope `jobs:write`.
         */
        post: operations["retryJob"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{id}/output": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get the video
         * @description The video of a job that succeeded, whole or as a single `Range`, with conditional requests. With the `expires` and `signature` of `output_url` it needs no credential.
         *
         *     Needs the scope `jobs:read`.
         */
        get: operations["getOutput"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{id}/inputs/{kind}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get an uploaded file
         * @description A file that was uploaded with the job, whole or as a single `Range`, with conditional requests. The function fetches it by a signed link (`expires`, `signature`), which needs no credential.
         *
         *     Needs the scope `jobs:read`.
         */
        get: operations["getInput"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/uploads": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Prepare the upload of a file
         * @description Answers with a signed URL to which the client sends the file: of the bucket, if the server has one, else of this server. Then a submit in JSON names it: `"video": {"upload_id": "..."}`. A file can be in several jobs; it is removed after the last of them, or if no job has it within a day.
         *
         *     Needs the scope `jobs:write`.
         */
        post: operations["createUpload"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{id}/logs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read the log
         * @description What the function has printed. While it runs, the answer is a stream that ends with the run. An answer that is cut off means an error of the backend.
         *
         *     Needs the scope `jobs:read`.
         */
        get: operations["getLogs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read usage and cost
         * @description What your jobs used, by the day on which each attempt finished; administrators read that of all callers. It is exact, and stays when jobs are removed. Of one metadata key the first 100 values of a caller and day have groups; others are in the group without a name, like jobs without the label.
         *
         *     Needs the scope `jobs:read`.
         */
        get: operations["getUsage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/pause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Pause the start of jobs
         * @description From now on no waiting job starts, on any replica, and also after a restart (unless jobs are only in memory). Submits are accepted, and jobs that the backend has already go on. The deadlines of waiting jobs stay as they are.
         *
         *     Needs the scope `admin`.
         */
        post: operations["pauseJobs"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Let jobs start again
         * @description Ends a pause: waiting jobs start as their turn comes.
         *
         *     Needs the scope `admin`.
         */
        post: operations["resumeJobs"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/batches": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List batches
         * @description Your batches, newest first. For the next page, follow the `Link` of this one, or send its `next_cursor`.
         *
         *     Needs the scope `jobs:read`.
         */
        get: operations["listBatches"];
        put?: never;
        /**
         * Submit a batch of jobs
         * @description Submits up to 1000 jobs at once, in a body of at most 5 MiB: JSON, or `application/x-ndjson` with one job a line. Jobs that are wrong, or beyond a limit, do not stop the others; `results` names the problem of each. With `atomic` all are created or none. Each job counts against the rate limit as a submit; a batch is accepted if one more submit is, and what it is beyond the limit delays the next submits. When the last job finishes, `webhook_url` gets the event `batch.finished` with the counts: `{"type", "timestamp", "data": {"batch_id", "counts", "links"}}`; again, if jobs are retried and finish again.
         *
         *     Needs the scope `jobs:write`.
         */
        post: operations["submitBatch"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/batches/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get a batch
         * @description How many of its jobs are in each state. `GET /jobs?batch=` lists them.
         *
         *     Needs the scope `jobs:read`.
         */
        get: operations["getBatch"];
        put?: never;
        post?: never;
        /**
         * Delete a batch
         * @description Deletes all its jobs with their files, and with the last one the batch. Refused while a job has not finished. A batch also goes when the last of its jobs is deleted, or removed after the retention.
         *
         *     Needs the scope `jobs:write`.
         */
        delete: operations["deleteBatch"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/batches/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Cancel a batch
         * @description Cancels the jobs that have not finished. Safe to repeat.
         *
         *     Needs the scope `jobs:write`.
         */
        post: operations["cancelBatch"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/batches/{id}/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Retry the failed jobs of a batch
         * @description Starts the jobs that have failed over, each as `POST /jobs/{id}/retry`, also for the rate limit. Canceled jobs stay canceled.
         *
         *     Needs the scope `jobs:write`.
         */
        post: operations["retryBatch"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/batches/{id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Follow a batch
         * @description Server-sent events named `batch`: the batch as it is now and after its counts have changed, at most one a second. The stream ends when all its jobs have finished. The `id` stands for the counts.
         *
         *     Needs the scope `jobs:read`.
         */
        get: operations["followBatch"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Follow a job
         * @description Server-sent events named `status`: the job as it is now and after every change. The stream ends when the job finishes; that of a job with an `output` when that is delivered, or will not be. The `id` is the revision. States in quick succession may be merged; the final state always comes. Events named `stage`, without an id, say where the running job is at the backend: `{"job_id", "stage"}`; events named `progress` say how far it is: `{"job_id", "progress"}`. The newest of each is sent first, then at most one a second.
         *
         *     Needs the scope `jobs:read`.
         */
        get: operations["followJob"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Follow all your jobs
         * @description Server-sent events named `status`: each of your jobs after every change from now on. The `id` is `<job>:<revision>`. States in quick succession may be merged. Events named `stage`, without an id, say where a running job is at the backend: `{"job_id", "stage"}`. Past changes are not repeated: after a break, list the jobs.
         *
         *     Needs the scope `jobs:read`.
         */
        get: operations["followJobs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{id}/deliveries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the deliveries of a job
         * @description Every delivery of the job, of its webhooks and its output, with its attempts. A job with neither `webhook_url` nor `output` has none.
         *
         *     Needs the scope `jobs:read`.
         */
        get: operations["listDeliveries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{id}/deliveries/{n}/redeliver": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Send a webhook or an output again
         * @description Sends the delivery once more, now, whatever its state. Its schedule continues.
         *
         *     Needs the scope `jobs:write`.
         */
        post: operations["redeliver"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/webhooks/test": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Send a test event to a receiver
         * @description Sends a `webhook.test` event, signed like any webhook of yours, once, and answers what the receiver answered, within the timeout of a delivery attempt. The body of its answer is not read: this server is not a way into the network of its receivers.
         *
         *     Needs the scope `jobs:write`.
         */
        post: operations["testWebhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/webhooks/secret": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get the secret of your webhooks
         * @description The secret that verifies your webhooks (Standard Webhooks). Every caller has its own.
         *
         *     Needs the scope `jobs:write`.
         */
        get: operations["getWebhookSecret"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Is the process alive?
         * @description Answers while the process runs, also under load. Never limited.
         */
        get: operations["getHealth"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Should it get requests?
         * @description Checked in the background every two seconds. An unavailable backend does not make the server unready.
         */
        get: operations["getReadiness"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read the metrics
         * @description For Prometheus, in its text format: counts since the process started, and current values. Not rate limited; 503 while too much of earlier answers is unread.
         *
         *     Needs the scope `metrics:read`.
         */
        get: operations["getMetrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * This document
         * @description The reference of this server, as OpenAPI 3.1.
         */
        get: operations["getReference"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/docs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * This document as a page
         * @description A page that shows the reference and sends requests. It loads nothing from other servers.
         */
        get: operations["readReference"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/docs/problems": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * All problems as a page
         * @description Explains each `code`; the `type` of a problem leads there. Always public.
         */
        get: operations["readProblems"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What is this?
         * @description Name and version of the server, and where to continue. With `Accept: text/html`, as browsers send it, the console; without a console the reference, if it is public.
         */
        get: operations["getServer"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export interface webhooks {
    "job.running": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * The event job.running
         * @description The backend has the job for the first time. Verify the signature (Standard Webhooks) before you believe it.
         */
        post: operations["onJobRunningEvent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "job.succeeded": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * The event job.succeeded
         * @description The job succeeded; its video can be fetched. Verify the signature (Standard Webhooks) before you believe it.
         */
        post: operations["onJobSucceededEvent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "job.failed": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * The event job.failed
         * @description The job failed. Verify the signature (Standard Webhooks) before you believe it.
         */
        post: operations["onJobFailedEvent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "job.canceled": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * The event job.canceled
         * @description The job was canceled. Verify the signature (Standard Webhooks) before you believe it.
         */
        post: operations["onJobCanceledEvent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "job.delivered": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * The event job.delivered
         * @description The video is at the `put_url` of the job. Verify the signature (Standard Webhooks) before you believe it.
         */
        post: operations["onJobDeliveredEvent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "batch.finished": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * The event batch.finished
         * @description All jobs of a batch have finished. Verify the signature (Standard Webhooks) before you believe it.
         */
        post: operations["onBatchFinishedEvent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "webhook.test": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * The event webhook.test
         * @description A caller tests a receiver by `POST /webhooks/test`. Verify the signature (Standard Webhooks) before you believe it.
         */
        post: operations["onWebhookTestEvent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export interface components {
    schemas: {
        /** @description One invalid field. */
        FieldError: {
            /**
             * @description The field, as a JSON Pointer (RFC 6901) into body or query.
             * @example /version
             */
            path: string;
            /**
             * @description What is wrong with it.
             * @example must be one of v15, v1
             */
            message: string;
            /**
             * @description The same as `path`, as the fragment of a URI.
             * @example #/version
             */
            pointer: string;
            /**
             * @description The same as `message`.
             * @example must be one of v15, v1
             */
            detail: string;
        };
        /** @description An error (RFC 9457), as application/problem+json. */
        Problem: {
            /**
             * Format: uri-reference
             * @description Where the problem is explained, relative to this server: a URI for each code.
             * @example /docs/problems#invalid_request
             */
            type: string;
            /**
             * @description The name of the status.
             * @example Bad Request
             */
            title: string;
            /**
             * @description The HTTP status.
             * @example 400
             */
            status: number;
            /**
             * @description What went wrong, in a sentence.
             * @example version: must be one of v15, v1
             */
            detail: string;
            /**
             * Format: uri
             * @description Names the request: `urn:request:` and the `X-Request-Id` of the answer.
             * @example urn:request:5f0c2b1a9d3e-1k
             */
            instance?: string;
            /**
             * @description The stable name of the problem, for programs. New codes may be added.
             * @example invalid_request
             * @enum {string}
             */
            code: "attempt_not_found" | "bad_request" | "batch_not_found" | "batch_rejected" | "body_too_large" | "concurrency_limit_reached" | "cross_site_refused" | "delivery_in_progress" | "delivery_not_found" | "expectation_failed" | "headers_too_large" | "idempotency_key_reused" | "input_not_found" | "insufficient_scope" | "internal_error" | "invalid_idempotency_key" | "invalid_json" | "invalid_multipart" | "invalid_request" | "issuer_unavailable" | "job_canceled" | "job_failed" | "job_finished" | "job_not_finished" | "job_not_found" | "link_invalid" | "logs_unavailable" | "malformed_request" | "malformed_url" | "media_rejected" | "method_not_allowed" | "not_acceptable" | "output_unavailable" | "overloaded" | "parameter_not_supported" | "precondition_failed" | "queue_full" | "range_not_satisfiable" | "rate_limited" | "request_timeout" | "retry_limit_reached" | "route_not_found" | "server_ending" | "storage_full" | "store_unavailable" | "stream_limit_reached" | "unauthorized" | "unsupported_media" | "unsupported_media_type" | "uploads_need_public_url" | "uploads_need_shared_storage" | "upload_rejected" | "upload_store_unavailable" | "uploads_limit_reached" | "url_not_allowed" | "webhook_secret_not_shown" | "webhooks_not_configured";
            /**
             * @description Each invalid field, up to 20.
             * @example [
             *       {
             *         "path": "/version",
             *         "message": "must be one of v15, v1",
             *         "pointer": "#/version",
             *         "detail": "must be one of v15, v1"
             *       }
             *     ]
             */
            errors?: components["schemas"]["FieldError"][];
        };
        /** @description How far a running job is, by what the function has printed. A hint, followed only while someone looks at the job: with an open `GET /jobs/:id/events`, a long poll, or a `GET` of the job within the last 30 s, so that the first of several requests has none. Absent when unknown, and while very many jobs are looked at. */
        Progress: {
            /**
             * @description What the run is doing, in the function's own words.
             * @example landmarks
             */
            step?: string;
            /**
             * @description How much of the step is done, in a unit of its own, such as frames.
             * @example 84
             */
            done?: number;
            /**
             * @description How much the step is in all.
             * @example 200
             */
            total?: number;
            /**
             * @description Of the step, not of the run; rounded down, so that 100 means done.
             * @example 42
             */
            percent?: number;
            /**
             * Format: date-time
             * @description When the server read it.
             * @example 2026-01-31T12:00:41.000Z
             */
            at: string;
        };
        /** @description An uploaded file. */
        InputFile: {
            /**
             * @description The id of an upload. It is valid for its caller only.
             * @example video.4daa.th4a80.3q2-7wAAAAAAAAAAAAAAAA.2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM
             */
            upload_id?: string;
            /**
             * @description In bytes.
             * @example 203850
             */
            size: number;
            /**
             * @description Its media type, detected from its content.
             * @example video/mp4
             */
            type: string;
        };
        /** @description Face and speech as they were given. */
        JobInput: {
            /**
             * Format: uri
             * @description Face: a video by http(s) URL.
             * @example https://media.example.com/face.mp4
             */
            video_url?: string;
            /**
             * Format: uri
             * @description Face: a still image by http(s) URL.
             * @example https://media.example.com/face.jpg
             */
            image_url?: string;
            /**
             * @description Face: a video or image by path, relative to the media root (locally) or to the checkout of MuseTalk (Modal: letters, digits, `_`, `-`, `.` and `/` only).
             * @example face.mp4
             */
            video_path?: string;
            /**
             * Format: uri
             * @description Speech by http(s) URL.
             * @example https://media.example.com/speech.wav
             */
            audio_url?: string;
            /**
             * @description Speech by path, relative like `video_path`.
             * @example speech.wav
             */
            audio_path?: string;
            video?: components["schemas"]["InputFile"];
            image?: components["schemas"]["InputFile"];
            audio?: components["schemas"]["InputFile"];
        } & ((unknown | unknown | unknown | unknown | unknown) & (unknown | unknown | unknown));
        /** @description What a file is. A fact that is absent is unknown. */
        MediaFacts: {
            /**
             * @description Its format.
             * @example MP4
             */
            container?: string;
            /**
             * @description Of the picture of a face or the sound of a speech, by ffmpeg's name.
             * @example h264
             */
            codec?: string;
            /**
             * @description Of the same. A still has none.
             * @example 10.72
             */
            duration_seconds?: number;
            /**
             * @description As stored, before rotation, in pixels.
             * @example 704
             */
            width?: number;
            /**
             * @description As stored, before rotation, in pixels.
             * @example 1216
             */
            height?: number;
            /**
             * @description By how many degrees a player turns the picture clockwise.
             * @example 0
             */
            rotation?: number;
            /**
             * @description Pictures per second, on average, at the beginning.
             * @example 25
             */
            frame_rate?: number;
            /**
             * @description In Hz.
             * @example 48000
             */
            sample_rate?: number;
            /**
             * @description Channels of the sound.
             * @example 2
             */
            channels?: number;
            /**
             * @description Whether there is a picture, still or moving.
             * @example true
             */
            has_picture?: boolean;
            /**
             * @description Whether there is sound.
             * @example false
             */
            has_sound?: boolean;
        };
        /** @description What face and speech were when the job was submitted: uploads, the paths of the local backend, and URLs where the server reads them. What is absent is unknown. */
        JobMedia: {
            face?: components["schemas"]["MediaFacts"];
            audio?: components["schemas"]["MediaFacts"];
        };
        /** @description The delivery of the output to the store of its caller. */
        OutputDelivery: {
            /**
             * Format: uri
             * @description Where the video is sent, without the query of the URL.
             * @example https://my-bucket.s3.eu-central-1.amazonaws.com/videos/scene-12.mp4
             */
            put_url: string;
            /**
             * @description Of a job that succeeded. `failed`: every attempt failed; `POST /jobs/:id/deliveries/:n/redeliver` makes another.
             * @example delivered
             * @enum {string}
             */
            state?: "pending" | "delivered" | "failed";
            /**
             * Format: date-time
             * @description When the store had it.
             * @example 2026-01-31T12:01:34.000Z
             */
            delivered_at?: string;
        };
        /** @description How long an attempt took at the backend, to the millisecond; of a job, the sums over its attempts that have finished. What is absent is unknown. */
        AttemptUsage: {
            /**
             * @description In the backend's queue, including the start of a container that it does not report separately.
             * @example 2.1
             */
            queued_seconds?: number;
            /**
             * @description While a container started, or, on the local backend, inputs were fetched.
             * @example 9.5
             */
            startup_seconds?: number;
            /**
             * @description In the run itself.
             * @example 64.27
             */
            run_seconds?: number;
        };
        /** @description What runs cost: their `run_seconds` times the price when each ended, where the server knows one. Neither the queue nor the start of containers is part of it. */
        Cost: {
            /**
             * @description A decimal with two to nine digits after the point.
             * @example 0.01426794
             */
            amount: string;
            /**
             * @description By ISO 4217.
             * @example USD
             */
            currency: string;
        };
        /** @description One run at the backend. */
        Attempt: {
            /**
             * @description Its number.
             * @example 1
             */
            attempt: number;
            /**
             * @description The backend's id of the call.
             * @example fc-01K3QJ8Z5W
             */
            call_id?: string;
            /**
             * Format: date-time
             * @description When the backend accepted the call.
             * @example 2026-01-31T12:00:01.000Z
             */
            started_at?: string;
            /**
             * Format: date-time
             * @description When the attempt finished.
             * @example 2026-01-31T12:01:30.000Z
             */
            finished_at?: string;
            /**
             * @description `interrupted`: the backend lost or stopped the run for a reason other than the input.
             * @example succeeded
             * @enum {string}
             */
            outcome?: "succeeded" | "failed" | "canceled" | "interrupted";
            /**
             * @description What went wrong, in words. URLs are reduced to their host.
             * @example audio_path: there is no such file
             */
            error?: string;
            /**
             * @description Why it failed:
             *     - `inference_failed`: the function reported it or raised, or the local command failed
             *     - `timed_out`: the job's deadline, `run_timeout_seconds` or the function's own time limit passed
             *     - `input_unavailable`: an input is missing, cannot be fetched, is refused, or has too many bytes
             *     - `invalid_media`: a face or speech is damaged, cut off, of an unsupported kind, too long or too large a picture, or has no picture or sound
             *     - `face_not_found`: there is no face in the picture or video
             *     - `backend_unavailable`: the backend could not be reached by the deadline, or lost or stopped the run repeatedly
             *     - `backend_rejected`: credentials, app, function or arguments were refused, its container cannot start, or ffmpeg is missing
             *     - `lost`: the backend no longer knows the call
             *     - `invalid_output`: the function's result does not have the expected fields
             * @example input_unavailable
             * @enum {string}
             */
            error_code?: "inference_failed" | "timed_out" | "input_unavailable" | "invalid_media" | "face_not_found" | "backend_unavailable" | "backend_rejected" | "lost" | "invalid_output";
            usage?: components["schemas"]["AttemptUsage"];
            cost?: components["schemas"]["Cost"];
        };
        /** @description Where the parts of a job are, relative to this server. */
        JobLinks: {
            /**
             * @description The job.
             * @example /jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
             */
            self: string;
            /**
             * @description Its result.
             * @example /jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/result
             */
            result: string;
            /**
             * @description Its video.
             * @example /jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/output
             */
            output: string;
            /**
             * @description Its changes, as a stream.
             * @example /jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/events
             */
            events: string;
            /**
             * @description Its log.
             * @example /jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/logs
             */
            logs: string;
            /**
             * @description Where to cancel it.
             * @example /jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/cancel
             */
            cancel: string;
            /**
             * @description Its deliveries, if it has a webhook or an `output`.
             * @example /jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/deliveries
             */
            deliveries?: string;
        };
        /** @description The job as `GET /jobs/:id` returned it when the event happened. Of a job for which a body of 20 KB is not enough, fields are left out: `links.self` has all. */
        WebhookJob: {
            /**
             * Format: uuid
             * @description The id of the job.
             * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
             */
            job_id: string;
            /**
             * @description The owner of the job; shown to administrators only.
             * @example key:studio
             */
            caller?: string;
            /**
             * @description `submitted` (accepted), `running` (the backend has it; its own queue counts), then one of the three final states.
             * @example running
             * @enum {string}
             */
            status: "submitted" | "running" | "succeeded" | "failed" | "canceled";
            /**
             * @description Where a running job is at the backend: `queued` (the backend's own queue), `starting` (its container starts) or `running`. A hint, which may lag some seconds behind; absent when unknown, and on replicas that do not follow the job.
             * @example running
             * @enum {string}
             */
            stage?: "queued" | "starting" | "running";
            progress?: components["schemas"]["Progress"];
            /**
             * @description The MuseTalk model.
             * @example v15
             * @enum {string}
             */
            version?: "v15" | "v1";
            /**
             * @description The backend that runs it; fixed when the job is accepted.
             * @example modal
             * @enum {string}
             */
            backend?: "modal" | "local";
            /**
             * @description Increases with every change of the job.
             * @example 2
             */
            revision?: number;
            input?: components["schemas"]["JobInput"];
            media?: components["schemas"]["JobMedia"];
            /**
             * @description How MuseTalk makes the video; each has a default of its own. One that the model does not know is an error of the field; one that the deployed function does not take is `parameter_not_supported`.
             * @example {
             *       "extra_margin": 12,
             *       "parsing_mode": "jaw"
             *     }
             */
            parameters?: {
                /**
                 * @description `v1` only: moves the edge of the mask, which opens or closes the mouth; pixels.
                 * @example 5
                 */
                bbox_shift?: number;
                /**
                 * @description `v15` only: pixels below the face that are included, for the jaw.
                 * @example 12
                 */
                extra_margin?: number;
                /**
                 * @description `v15` only: which part of the face is blended.
                 * @example jaw
                 * @enum {string}
                 */
                parsing_mode?: "jaw" | "raw" | "neck";
                /**
                 * @description `v15` only: width of the left cheek in the mask, in pixels.
                 * @example 90
                 */
                left_cheek_width?: number;
                /**
                 * @description `v15` only: width of the right cheek in the mask, in pixels.
                 * @example 90
                 */
                right_cheek_width?: number;
                /**
                 * @description Frames per step on the GPU.
                 * @example 8
                 */
                batch_size?: number;
                /**
                 * @description Frames per second, if the face is a still image.
                 * @example 25
                 */
                fps?: number;
                /**
                 * @description Whether to use half precision.
                 * @example true
                 */
                use_float16?: boolean;
            };
            /**
             * @description Your own labels: up to 16 keys of 64 characters, values of 512.
             * @example {
             *       "scene": "12"
             *     }
             */
            metadata?: {
                [key: string]: string;
            };
            /**
             * @description Longest time from the start of the run at the backend, if the backend reports the start; its queue does not count. Then the job fails with `timed_out`. The server may have a default.
             * @example 900
             */
            run_timeout_seconds?: number;
            /**
             * @description How urgent the job is among your own that wait: `high` before `normal` (the default) before `low`. Jobs of other callers start neither earlier nor later for it.
             * @example high
             * @enum {string}
             */
            priority?: "high" | "normal" | "low";
            /**
             * @description The batch with which it was submitted.
             * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
             */
            batch_id?: string;
            /**
             * Format: date-time
             * @description When the job was accepted.
             * @example 2026-01-31T12:00:00.000Z
             */
            created_at?: string;
            /**
             * Format: date-time
             * @description When the backend first accepted it.
             * @example 2026-01-31T12:00:01.000Z
             */
            started_at?: string;
            /**
             * Format: date-time
             * @description When it finished.
             * @example 2026-01-31T12:01:30.000Z
             */
            finished_at?: string;
            /**
             * Format: date-time
             * @description When it finishes at the latest.
             * @example 2026-01-31T14:00:00.000Z
             */
            deadline_at?: string;
            /**
             * Format: date-time
             * @description When it is expected to finish: by the length of its speech and the median of recent runs of the same `version`, from the start of its run and by its progress, or, before the start, as if the run started as soon as the queue ahead allows. A hint. Absent when there is nothing to go by, while the job waits for the output of another one, before its call while the start of jobs is paused, and when the run takes longer than estimated; never later than the deadline.
             * @example 2026-01-31T12:01:30.000Z
             */
            estimated_finish_at?: string;
            /**
             * @description Position in the queue while the job waits, 1 for the next. So many of the jobs that wait now start up to and with it, unless your own limit of running jobs holds it back; jobs that other callers submit later may start before it as well. With several replicas it may lag a little.
             * @example 3
             */
            queue_position?: number;
            output?: components["schemas"]["OutputDelivery"];
            /**
             * @description Where the backend stored the video.
             * @example /shared/results/0198a6f0/v15/output.mp4
             */
            output_path?: string;
            /**
             * @description Link to the video that needs no credential until it expires.
             * @example https://jobs.example.com/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/output?expires=1769864400&signature=2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM
             */
            output_url?: string;
            /**
             * Format: uuid
             * @description The job whose run made the output; it may have been deleted since.
             * @example 0198a6ef-51d2-7b0c-8a44-5d0c9be0f6a3
             */
            reused_from?: string;
            /**
             * @description What went wrong, in words. URLs are reduced to their host.
             * @example audio_path: there is no such file
             */
            error?: string;
            /**
             * @description Why it failed:
             *     - `inference_failed`: the function reported it or raised, or the local command failed
             *     - `timed_out`: the job's deadline, `run_timeout_seconds` or the function's own time limit passed
             *     - `input_unavailable`: an input is missing, cannot be fetched, is refused, or has too many bytes
             *     - `invalid_media`: a face or speech is damaged, cut off, of an unsupported kind, too long or too large a picture, or has no picture or sound
             *     - `face_not_found`: there is no face in the picture or video
             *     - `backend_unavailable`: the backend could not be reached by the deadline, or lost or stopped the run repeatedly
             *     - `backend_rejected`: credentials, app, function or arguments were refused, its container cannot start, or ffmpeg is missing
             *     - `lost`: the backend no longer knows the call
             *     - `invalid_output`: the function's result does not have the expected fields
             * @example input_unavailable
             * @enum {string}
             */
            error_code?: "inference_failed" | "timed_out" | "input_unavailable" | "invalid_media" | "face_not_found" | "backend_unavailable" | "backend_rejected" | "lost" | "invalid_output";
            usage?: components["schemas"]["AttemptUsage"];
            cost?: components["schemas"]["Cost"];
            /**
             * @description Attempts at the backend; of more than 40, the first and the last 20. The last one is current.
             * @example [
             *       {
             *         "attempt": 1,
             *         "call_id": "fc-01K3QJ8Z5W",
             *         "started_at": "2026-01-31T12:00:01.000Z"
             *       }
             *     ]
             */
            attempts?: components["schemas"]["Attempt"][];
            /**
             * @description How many attempts between these are no longer stored.
             * @example 3
             */
            attempts_omitted?: number;
            links: components["schemas"]["JobLinks"];
        };
        /** @description The backend has the job for the first time. */
        JobRunningEvent: {
            /**
             * @description What has happened.
             * @example job.running
             * @enum {string}
             */
            type: "job.running";
            /**
             * Format: date-time
             * @description When it happened.
             * @example 2026-01-31T12:01:30.000Z
             */
            timestamp: string;
            data: components["schemas"]["WebhookJob"];
        };
        /** @description The job succeeded; its video can be fetched. */
        JobSucceededEvent: {
            /**
             * @description What has happened.
             * @example job.succeeded
             * @enum {string}
             */
            type: "job.succeeded";
            /**
             * Format: date-time
             * @description When it happened.
             * @example 2026-01-31T12:01:30.000Z
             */
            timestamp: string;
            data: components["schemas"]["WebhookJob"];
        };
        /** @description The job failed. */
        JobFailedEvent: {
            /**
             * @description What has happened.
             * @example job.failed
             * @enum {string}
             */
            type: "job.failed";
            /**
             * Format: date-time
             * @description When it happened.
             * @example 2026-01-31T12:01:30.000Z
             */
            timestamp: string;
            data: components["schemas"]["WebhookJob"];
        };
        /** @description The job was canceled. */
        JobCanceledEvent: {
            /**
             * @description What has happened.
             * @example job.canceled
             * @enum {string}
             */
            type: "job.canceled";
            /**
             * Format: date-time
             * @description When it happened.
             * @example 2026-01-31T12:01:30.000Z
             */
            timestamp: string;
            data: components["schemas"]["WebhookJob"];
        };
        /** @description The video is at the `put_url` of the job. */
        JobDeliveredEvent: {
            /**
             * @description What has happened.
             * @example job.delivered
             * @enum {string}
             */
            type: "job.delivered";
            /**
             * Format: date-time
             * @description When it happened.
             * @example 2026-01-31T12:01:30.000Z
             */
            timestamp: string;
            data: components["schemas"]["WebhookJob"];
        };
        /** @description All jobs of a batch have finished. */
        BatchFinishedEvent: {
            /**
             * @description What has happened.
             * @example batch.finished
             * @enum {string}
             */
            type: "batch.finished";
            /**
             * Format: date-time
             * @description When it happened.
             * @example 2026-01-31T12:01:30.000Z
             */
            timestamp: string;
            /** @description The batch as it ended. */
            data: {
                /**
                 * Format: uuid
                 * @description The batch.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b22
                 */
                batch_id: string;
                /** @description Its jobs by state. */
                counts: {
                    /**
                     * @description Jobs that are submitted.
                     * @example 1
                     */
                    submitted: number;
                    /**
                     * @description Jobs that are running.
                     * @example 1
                     */
                    running: number;
                    /**
                     * @description Jobs that are succeeded.
                     * @example 1
                     */
                    succeeded: number;
                    /**
                     * @description Jobs that are failed.
                     * @example 1
                     */
                    failed: number;
                    /**
                     * @description Jobs that are canceled.
                     * @example 1
                     */
                    canceled: number;
                };
                /** @description Paths below the server. */
                links: {
                    /**
                     * @description The batch.
                     * @example /batches/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b22
                     */
                    self: string;
                };
            };
        };
        /** @description A caller tests a receiver by `POST /webhooks/test`. */
        WebhookTestEvent: {
            /**
             * @description What has happened.
             * @example webhook.test
             * @enum {string}
             */
            type: "webhook.test";
            /**
             * Format: date-time
             * @description When it happened.
             * @example 2026-01-31T12:01:30.000Z
             */
            timestamp: string;
            /**
             * @description Nothing.
             * @example {}
             */
            data: Record<string, never>;
        };
        /** @description Like `NewJob`, and files: exactly one face (`video_url`, `image_url`, `video_path`, `video`, `image`) and exactly one speech (`audio_url`, `audio_path`, `audio`). Fields and files come in any order; `parameters`, `metadata` and `output` are JSON objects as text. A field without text, a member of `parameters` or `output` that is an empty text, and a file input without a file count as absent; a part of type application/json is read as JSON. */
        NewJobForm: {
            /**
             * Format: binary
             * @description Face: a video, as a file.
             * @example (the bytes)
             */
            video?: Blob;
            /**
             * Format: binary
             * @description Face: a still image, as a file.
             * @example (the bytes)
             */
            image?: Blob;
            /**
             * Format: binary
             * @description Speech, as a file.
             * @example (the bytes)
             */
            audio?: Blob;
            /**
             * Format: uri
             * @description Face: a video by http(s) URL.
             * @example https://media.example.com/face.mp4
             */
            video_url?: string;
            /**
             * Format: uri
             * @description Face: a still image by http(s) URL.
             * @example https://media.example.com/face.jpg
             */
            image_url?: string;
            /**
             * @description Face: a video or image by path, relative to the media root (locally) or to the checkout of MuseTalk (Modal: letters, digits, `_`, `-`, `.` and `/` only).
             * @example face.mp4
             */
            video_path?: string;
            /**
             * Format: uri
             * @description Speech by http(s) URL.
             * @example https://media.example.com/speech.wav
             */
            audio_url?: string;
            /**
             * @description Speech by path, relative like `video_path`.
             * @example speech.wav
             */
            audio_path?: string;
            /**
             * @description The MuseTalk model, `v15` by default.
             * @example v15
             * @enum {string}
             */
            version?: "v15" | "v1";
            /**
             * @description How MuseTalk makes the video; each has a default of its own. One that the model does not know is an error of the field; one that the deployed function does not take is `parameter_not_supported`.
             * @example {
             *       "extra_margin": 12,
             *       "parsing_mode": "jaw"
             *     }
             */
            parameters?: {
                /**
                 * @description `v1` only: moves the edge of the mask, which opens or closes the mouth; pixels.
                 * @example 5
                 */
                bbox_shift?: number;
                /**
                 * @description `v15` only: pixels below the face that are included, for the jaw.
                 * @example 12
                 */
                extra_margin?: number;
                /**
                 * @description `v15` only: which part of the face is blended.
                 * @example jaw
                 * @enum {string}
                 */
                parsing_mode?: "jaw" | "raw" | "neck";
                /**
                 * @description `v15` only: width of the left cheek in the mask, in pixels.
                 * @example 90
                 */
                left_cheek_width?: number;
                /**
                 * @description `v15` only: width of the right cheek in the mask, in pixels.
                 * @example 90
                 */
                right_cheek_width?: number;
                /**
                 * @description Frames per step on the GPU.
                 * @example 8
                 */
                batch_size?: number;
                /**
                 * @description Frames per second, if the face is a still image.
                 * @example 25
                 */
                fps?: number;
                /**
                 * @description Whether to use half precision.
                 * @example true
                 */
                use_float16?: boolean;
            };
            /**
             * @description Your own labels: up to 16 keys of 64 characters, values of 512.
             * @example {
             *       "scene": "12"
             *     }
             */
            metadata?: {
                [key: string]: string;
            };
            /**
             * @description Longest time from the start of the run at the backend, if the backend reports the start; its queue does not count. Then the job fails with `timed_out`. The server may have a default.
             * @example 900
             */
            run_timeout_seconds?: number;
            /**
             * @description How urgent the job is among your own that wait: `high` before `normal` (the default) before `low`. Jobs of other callers start neither earlier nor later for it.
             * @example high
             * @enum {string}
             */
            priority?: "high" | "normal" | "low";
            /**
             * @description Longest time from the acceptance of the job until it finishes; the server has a default.
             * @example 3600
             */
            timeout_seconds?: number;
            /**
             * @description Whether the output of an identical job of yours will do: the same face, speech, `version` and `parameters`. If one has succeeded, this job succeeds at once, with `reused_from` and without a run; if one is in flight, this one waits for it, and runs if that fails. Files count by content: uploads, paths on the local backend, and URLs where the server reads them and they answer with the same strong `ETag` as before; other jobs run. The server may have a default.
             * @example true
             */
            reuse?: boolean;
            /**
             * Format: uri
             * @description Where to be notified by a signed POST (Standard Webhooks): http or https, at a public address.
             * @example https://hooks.example.com/lip-sync
             */
            webhook_url?: string;
            /**
             * @description The events that the webhook reports; by default the three final ones, and `job.delivered` if there is an `output`.
             * @example [
             *       "job.running",
             *       "job.succeeded",
             *       "job.failed",
             *       "job.canceled"
             *     ]
             */
            webhook_events?: ("job.running" | "job.succeeded" | "job.failed" | "job.canceled" | "job.delivered")[];
            /** @description Where to send the output, in addition to `output_url`. */
            output?: {
                /**
                 * Format: uri
                 * @description A presigned URL of your own store for a PUT of the video: http or https, at a public address. The server sends the video to it once the job has succeeded, with `Content-Type` and `Content-Length`, which the URL may have signed; and again, by the schedule of webhooks, until the store answers 2xx. The URL has to be valid by then. It is kept as a secret.
                 * @example https://my-bucket.s3.eu-central-1.amazonaws.com/videos/scene-12.mp4?X-Amz-Signature=0f4c9b
                 */
                put_url: string;
            };
        } & ((unknown | unknown | unknown | unknown | unknown) & (unknown | unknown | unknown));
        /** @description What to make: exactly one face (`video_url`, `image_url`, `video_path`, `video`, `image`) and exactly one speech (`audio_url`, `audio_path`, `audio`). An optional field that is null counts as absent. */
        NewJob: {
            /**
             * Format: uri
             * @description Face: a video by http(s) URL.
             * @example https://media.example.com/face.mp4
             */
            video_url?: string | null;
            /**
             * Format: uri
             * @description Face: a still image by http(s) URL.
             * @example https://media.example.com/face.jpg
             */
            image_url?: string | null;
            /**
             * @description Face: a video or image by path, relative to the media root (locally) or to the checkout of MuseTalk (Modal: letters, digits, `_`, `-`, `.` and `/` only).
             * @example face.mp4
             */
            video_path?: string | null;
            /**
             * Format: uri
             * @description Speech by http(s) URL.
             * @example https://media.example.com/speech.wav
             */
            audio_url?: string | null;
            /**
             * @description Speech by path, relative like `video_path`.
             * @example speech.wav
             */
            audio_path?: string | null;
            /** @description Face: a video, sent ahead (`POST /uploads`). */
            video?: {
                /**
                 * @description The id of an upload. It is valid for its caller only.
                 * @example video.4daa.th4a80.3q2-7wAAAAAAAAAAAAAAAA.2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM
                 */
                upload_id: string;
            } | null;
            /** @description Face: a still image, sent ahead. */
            image?: {
                /**
                 * @description The id of an upload. It is valid for its caller only.
                 * @example video.4daa.th4a80.3q2-7wAAAAAAAAAAAAAAAA.2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM
                 */
                upload_id: string;
            } | null;
            /** @description Speech, sent ahead. */
            audio?: {
                /**
                 * @description The id of an upload. It is valid for its caller only.
                 * @example video.4daa.th4a80.3q2-7wAAAAAAAAAAAAAAAA.2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM
                 */
                upload_id: string;
            } | null;
            /**
             * @description The MuseTalk model, `v15` by default.
             * @example v15
             * @enum {string|null}
             */
            version?: "v15" | "v1" | null;
            /**
             * @description How MuseTalk makes the video; each has a default of its own. One that the model does not know is an error of the field; one that the deployed function does not take is `parameter_not_supported`.
             * @example {
             *       "extra_margin": 12,
             *       "parsing_mode": "jaw"
             *     }
             */
            parameters?: {
                /**
                 * @description `v1` only: moves the edge of the mask, which opens or closes the mouth; pixels.
                 * @example 5
                 */
                bbox_shift?: number | null;
                /**
                 * @description `v15` only: pixels below the face that are included, for the jaw.
                 * @example 12
                 */
                extra_margin?: number | null;
                /**
                 * @description `v15` only: which part of the face is blended.
                 * @example jaw
                 * @enum {string|null}
                 */
                parsing_mode?: "jaw" | "raw" | "neck" | null;
                /**
                 * @description `v15` only: width of the left cheek in the mask, in pixels.
                 * @example 90
                 */
                left_cheek_width?: number | null;
                /**
                 * @description `v15` only: width of the right cheek in the mask, in pixels.
                 * @example 90
                 */
                right_cheek_width?: number | null;
                /**
                 * @description Frames per step on the GPU.
                 * @example 8
                 */
                batch_size?: number | null;
                /**
                 * @description Frames per second, if the face is a still image.
                 * @example 25
                 */
                fps?: number | null;
                /**
                 * @description Whether to use half precision.
                 * @example true
                 */
                use_float16?: boolean | null;
            } | null;
            /**
             * @description Your own labels: up to 16 keys of 64 characters, values of 512.
             * @example {
             *       "scene": "12"
             *     }
             */
            metadata?: {
                [key: string]: string | null;
            } | null;
            /**
             * @description Longest time from the start of the run at the backend, if the backend reports the start; its queue does not count. Then the job fails with `timed_out`. The server may have a default.
             * @example 900
             */
            run_timeout_seconds?: number | null;
            /**
             * @description How urgent the job is among your own that wait: `high` before `normal` (the default) before `low`. Jobs of other callers start neither earlier nor later for it.
             * @example high
             * @enum {string|null}
             */
            priority?: "high" | "normal" | "low" | null;
            /**
             * @description Longest time from the acceptance of the job until it finishes; the server has a default.
             * @example 3600
             */
            timeout_seconds?: number | null;
            /**
             * @description Whether the output of an identical job of yours will do: the same face, speech, `version` and `parameters`. If one has succeeded, this job succeeds at once, with `reused_from` and without a run; if one is in flight, this one waits for it, and runs if that fails. Files count by content: uploads, paths on the local backend, and URLs where the server reads them and they answer with the same strong `ETag` as before; other jobs run. The server may have a default.
             * @example true
             */
            reuse?: boolean | null;
            /**
             * Format: uri
             * @description Where to be notified by a signed POST (Standard Webhooks): http or https, at a public address.
             * @example https://hooks.example.com/lip-sync
             */
            webhook_url?: string | null;
            /**
             * @description The events that the webhook reports; by default the three final ones, and `job.delivered` if there is an `output`.
             * @example [
             *       "job.running",
             *       "job.succeeded",
             *       "job.failed",
             *       "job.canceled"
             *     ]
             */
            webhook_events?: ("job.running" | "job.succeeded" | "job.failed" | "job.canceled" | "job.delivered")[] | null;
            /** @description Where to send the output, in addition to `output_url`. */
            output?: {
                /**
                 * Format: uri
                 * @description A presigned URL of your own store for a PUT of the video: http or https, at a public address. The server sends the video to it once the job has succeeded, with `Content-Type` and `Content-Length`, which the URL may have signed; and again, by the schedule of webhooks, until the store answers 2xx. The URL has to be valid by then. It is kept as a secret.
                 * @example https://my-bucket.s3.eu-central-1.amazonaws.com/videos/scene-12.mp4?X-Amz-Signature=0f4c9b
                 */
                put_url: string;
            } | null;
        } & (({
            /**
             * Format: uri
             * @description Face: a video by http(s) URL.
             * @example https://media.example.com/face.mp4
             */
            video_url: string;
        } | {
            /**
             * Format: uri
             * @description Face: a still image by http(s) URL.
             * @example https://media.example.com/face.jpg
             */
            image_url: string;
        } | {
            /**
             * @description Face: a video or image by path, relative to the media root (locally) or to the checkout of MuseTalk (Modal: letters, digits, `_`, `-`, `.` and `/` only).
             * @example face.mp4
             */
            video_path: string;
        } | {
            /** @description Face: a video, sent ahead (`POST /uploads`). */
            video: {
                /**
                 * @description The id of an upload. It is valid for its caller only.
                 * @example video.4daa.th4a80.3q2-7wAAAAAAAAAAAAAAAA.2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM
                 */
                upload_id: string;
            };
        } | {
            /** @description Face: a still image, sent ahead. */
            image: {
                /**
                 * @description The id of an upload. It is valid for its caller only.
                 * @example video.4daa.th4a80.3q2-7wAAAAAAAAAAAAAAAA.2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM
                 */
                upload_id: string;
            };
        }) & ({
            /**
             * Format: uri
             * @description Speech by http(s) URL.
             * @example https://media.example.com/speech.wav
             */
            audio_url: string;
        } | {
            /**
             * @description Speech by path, relative like `video_path`.
             * @example speech.wav
             */
            audio_path: string;
        } | {
            /** @description Speech, sent ahead. */
            audio: {
                /**
                 * @description The id of an upload. It is valid for its caller only.
                 * @example video.4daa.th4a80.3q2-7wAAAAAAAAAAAAAAAA.2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM
                 */
                upload_id: string;
            };
        }));
        /** @description A job. A field that does not apply is absent, not null. */
        Job: {
            /**
             * Format: uuid
             * @description The id of the job.
             * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
             */
            job_id: string;
            /**
             * @description The owner of the job; shown to administrators only.
             * @example key:studio
             */
            caller?: string;
            /**
             * @description `submitted` (accepted), `running` (the backend has it; its own queue counts), then one of the three final states.
             * @example running
             * @enum {string}
             */
            status: "submitted" | "running" | "succeeded" | "failed" | "canceled";
            /**
             * @description Where a running job is at the backend: `queued` (the backend's own queue), `starting` (its container starts) or `running`. A hint, which may lag some seconds behind; absent when unknown, and on replicas that do not follow the job.
             * @example running
             * @enum {string}
             */
            stage?: "queued" | "starting" | "running";
            progress?: components["schemas"]["Progress"];
            /**
             * @description The MuseTalk model.
             * @example v15
             * @enum {string}
             */
            version: "v15" | "v1";
            /**
             * @description The backend that runs it; fixed when the job is accepted.
             * @example modal
             * @enum {string}
             */
            backend: "modal" | "local";
            /**
             * @description Increases with every change of the job.
             * @example 2
             */
            revision: number;
            input: components["schemas"]["JobInput"];
            media?: components["schemas"]["JobMedia"];
            /**
             * @description How MuseTalk makes the video; each has a default of its own. One that the model does not know is an error of the field; one that the deployed function does not take is `parameter_not_supported`.
             * @example {
             *       "extra_margin": 12,
             *       "parsing_mode": "jaw"
             *     }
             */
            parameters?: {
                /**
                 * @description `v1` only: moves the edge of the mask, which opens or closes the mouth; pixels.
                 * @example 5
                 */
                bbox_shift?: number;
                /**
                 * @description `v15` only: pixels below the face that are included, for the jaw.
                 * @example 12
                 */
                extra_margin?: number;
                /**
                 * @description `v15` only: which part of the face is blended.
                 * @example jaw
                 * @enum {string}
                 */
                parsing_mode?: "jaw" | "raw" | "neck";
                /**
                 * @description `v15` only: width of the left cheek in the mask, in pixels.
                 * @example 90
                 */
                left_cheek_width?: number;
                /**
                 * @description `v15` only: width of the right cheek in the mask, in pixels.
                 * @example 90
                 */
                right_cheek_width?: number;
                /**
                 * @description Frames per step on the GPU.
                 * @example 8
                 */
                batch_size?: number;
                /**
                 * @description Frames per second, if the face is a still image.
                 * @example 25
                 */
                fps?: number;
                /**
                 * @description Whether to use half precision.
                 * @example true
                 */
                use_float16?: boolean;
            };
            /**
             * @description Your own labels: up to 16 keys of 64 characters, values of 512.
             * @example {
             *       "scene": "12"
             *     }
             */
            metadata?: {
                [key: string]: string;
            };
            /**
             * @description Longest time from the start of the run at the backend, if the backend reports the start; its queue does not count. Then the job fails with `timed_out`. The server may have a default.
             * @example 900
             */
            run_timeout_seconds?: number;
            /**
             * @description How urgent the job is among your own that wait: `high` before `normal` (the default) before `low`. Jobs of other callers start neither earlier nor later for it.
             * @example high
             * @enum {string}
             */
            priority?: "high" | "normal" | "low";
            /**
             * @description The batch with which it was submitted.
             * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
             */
            batch_id?: string;
            /**
             * Format: date-time
             * @description When the job was accepted.
             * @example 2026-01-31T12:00:00.000Z
             */
            created_at: string;
            /**
             * Format: date-time
             * @description When the backend first accepted it.
             * @example 2026-01-31T12:00:01.000Z
             */
            started_at?: string;
            /**
             * Format: date-time
             * @description When it finished.
             * @example 2026-01-31T12:01:30.000Z
             */
            finished_at?: string;
            /**
             * Format: date-time
             * @description When it finishes at the latest.
             * @example 2026-01-31T14:00:00.000Z
             */
            deadline_at: string;
            /**
             * Format: date-time
             * @description When it is expected to finish: by the length of its speech and the median of recent runs of the same `version`, from the start of its run and by its progress, or, before the start, as if the run started as soon as the queue ahead allows. A hint. Absent when there is nothing to go by, while the job waits for the output of another one, before its call while the start of jobs is paused, and when the run takes longer than estimated; never later than the deadline.
             * @example 2026-01-31T12:01:30.000Z
             */
            estimated_finish_at?: string;
            /**
             * @description Position in the queue while the job waits, 1 for the next. So many of the jobs that wait now start up to and with it, unless your own limit of running jobs holds it back; jobs that other callers submit later may start before it as well. With several replicas it may lag a little.
             * @example 3
             */
            queue_position?: number;
            output?: components["schemas"]["OutputDelivery"];
            /**
             * @description Where the backend stored the video.
             * @example /shared/results/0198a6f0/v15/output.mp4
             */
            output_path?: string;
            /**
             * @description Link to the video that needs no credential until it expires.
             * @example https://jobs.example.com/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/output?expires=1769864400&signature=2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM
             */
            output_url?: string;
            /**
             * Format: uuid
             * @description The job whose run made the output; it may have been deleted since.
             * @example 0198a6ef-51d2-7b0c-8a44-5d0c9be0f6a3
             */
            reused_from?: string;
            /**
             * @description What went wrong, in words. URLs are reduced to their host.
             * @example audio_path: there is no such file
             */
            error?: string;
            /**
             * @description Why it failed:
             *     - `inference_failed`: the function reported it or raised, or the local command failed
             *     - `timed_out`: the job's deadline, `run_timeout_seconds` or the function's own time limit passed
             *     - `input_unavailable`: an input is missing, cannot be fetched, is refused, or has too many bytes
             *     - `invalid_media`: a face or speech is damaged, cut off, of an unsupported kind, too long or too large a picture, or has no picture or sound
             *     - `face_not_found`: there is no face in the picture or video
             *     - `backend_unavailable`: the backend could not be reached by the deadline, or lost or stopped the run repeatedly
             *     - `backend_rejected`: credentials, app, function or arguments were refused, its container cannot start, or ffmpeg is missing
             *     - `lost`: the backend no longer knows the call
             *     - `invalid_output`: the function's result does not have the expected fields
             * @example input_unavailable
             * @enum {string}
             */
            error_code?: "inference_failed" | "timed_out" | "input_unavailable" | "invalid_media" | "face_not_found" | "backend_unavailable" | "backend_rejected" | "lost" | "invalid_output";
            usage?: components["schemas"]["AttemptUsage"];
            cost?: components["schemas"]["Cost"];
            /**
             * @description Attempts at the backend; of more than 40, the first and the last 20. The last one is current.
             * @example [
             *       {
             *         "attempt": 1,
             *         "call_id": "fc-01K3QJ8Z5W",
             *         "started_at": "2026-01-31T12:00:01.000Z"
             *       }
             *     ]
             */
            attempts: components["schemas"]["Attempt"][];
            /**
             * @description How many attempts between these are no longer stored.
             * @example 3
             */
            attempts_omitted?: number;
            links: components["schemas"]["JobLinks"];
        };
        /** @description By the length of the speech and the median of recent runs of the same `version`. Absent when there is nothing to go by. */
        JobEstimate: {
            /**
             * @description How long it would wait in this server's queue; absent if the server bounds no jobs.
             * @example 240
             */
            queued_seconds?: number;
            /**
             * @description How long its run would take, without the start of a container.
             * @example 96
             */
            run_seconds: number;
            /**
             * Format: date-time
             * @description When it would finish.
             * @example 2026-01-31T12:05:36.000Z
             */
            finish_at?: string;
            /** @description What the run would cost. */
            cost?: {
                /**
                 * @description A decimal.
                 * @example 0.0213
                 */
                amount: string;
                /**
                 * @description By ISO 4217.
                 * @example USD
                 */
                currency: string;
            };
        };
        /** @description What a submit would make, of a request that would be accepted. */
        JobCheck: {
            /**
             * @description The MuseTalk model.
             * @example v15
             * @enum {string}
             */
            version: "v15" | "v1";
            /**
             * @description The backend that runs it; fixed when the job is accepted.
             * @example modal
             * @enum {string}
             */
            backend: "modal" | "local";
            input: components["schemas"]["JobInput"];
            media?: components["schemas"]["JobMedia"];
            /**
             * @description How MuseTalk makes the video; each has a default of its own. One that the model does not know is an error of the field; one that the deployed function does not take is `parameter_not_supported`.
             * @example {
             *       "extra_margin": 12,
             *       "parsing_mode": "jaw"
             *     }
             */
            parameters?: {
                /**
                 * @description `v1` only: moves the edge of the mask, which opens or closes the mouth; pixels.
                 * @example 5
                 */
                bbox_shift?: number;
                /**
                 * @description `v15` only: pixels below the face that are included, for the jaw.
                 * @example 12
                 */
                extra_margin?: number;
                /**
                 * @description `v15` only: which part of the face is blended.
                 * @example jaw
                 * @enum {string}
                 */
                parsing_mode?: "jaw" | "raw" | "neck";
                /**
                 * @description `v15` only: width of the left cheek in the mask, in pixels.
                 * @example 90
                 */
                left_cheek_width?: number;
                /**
                 * @description `v15` only: width of the right cheek in the mask, in pixels.
                 * @example 90
                 */
                right_cheek_width?: number;
                /**
                 * @description Frames per step on the GPU.
                 * @example 8
                 */
                batch_size?: number;
                /**
                 * @description Frames per second, if the face is a still image.
                 * @example 25
                 */
                fps?: number;
                /**
                 * @description Whether to use half precision.
                 * @example true
                 */
                use_float16?: boolean;
            };
            /**
             * @description Your own labels: up to 16 keys of 64 characters, values of 512.
             * @example {
             *       "scene": "12"
             *     }
             */
            metadata?: {
                [key: string]: string;
            };
            /**
             * @description Longest time from the start of the run at the backend, if the backend reports the start; its queue does not count. Then the job fails with `timed_out`. The server may have a default.
             * @example 900
             */
            run_timeout_seconds?: number;
            /**
             * @description How urgent the job is among your own that wait: `high` before `normal` (the default) before `low`. Jobs of other callers start neither earlier nor later for it.
             * @example high
             * @enum {string}
             */
            priority?: "high" | "normal" | "low";
            /**
             * Format: uuid
             * @description The job whose run made the output; it may have been deleted since.
             * @example 0198a6ef-51d2-7b0c-8a44-5d0c9be0f6a3
             */
            reused_from?: string;
            estimate?: components["schemas"]["JobEstimate"];
        };
        /** @description One page of jobs. */
        JobList: {
            /** @description Newest first. */
            jobs: components["schemas"]["Job"][];
            /**
             * @description Names the next page; absent on the last.
             * @example MTc2OTg2MDgwMDAwMC4wMTk4YTZmMC03YzFlLTdhNTItOWQ1Yi0zZjFmNWEwYzJiMTE
             */
            next_cursor?: string;
        };
        /** @description The result of a job that succeeded. */
        Result: {
            /**
             * Format: uuid
             * @description The id of the job.
             * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
             */
            job_id: string;
            /**
             * @description Others have no result.
             * @example succeeded
             * @enum {string}
             */
            status: "succeeded";
            /**
             * @description Where the backend stored the video.
             * @example /shared/results/0198a6f0/v15/output.mp4
             */
            output_path: string;
            /**
             * @description Link to the video that needs no credential until it expires.
             * @example https://jobs.example.com/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/output?expires=1769864400&signature=2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM
             */
            output_url: string;
        };
        /** @description A file to be sent. */
        NewUpload: {
            /**
             * @description The field of the submit that it is for.
             * @example video
             * @enum {string}
             */
            kind: "video" | "image" | "audio";
            /**
             * @description Of the file, in bytes.
             * @example 203850
             */
            size: number;
            /**
             * @description Its media type, which is then sent with it. What the file is follows from its content only.
             * @example video/mp4
             */
            type?: string;
        };
        /** @description How to send a file. */
        Upload: {
            /**
             * @description The id of an upload. It is valid for its caller only.
             * @example video.4daa.th4a80.3q2-7wAAAAAAAAAAAAAAAA.2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM
             */
            upload_id: string;
            /**
             * @description How to send the file.
             * @example PUT
             * @enum {string}
             */
            method: "PUT";
            /**
             * Format: uri
             * @description Where to send it, without credentials: the URL is one.
             * @example https://s3.eu-central-1.amazonaws.com/musetalk/uploads/3q2-7wAAAAAAAAAAAAAAAA?X-Amz-Expires=3600&X-Amz-Signature=98ad
             */
            url: string;
            /**
             * @description The headers to send it with, exactly. Browsers set `Content-Length` by themselves.
             * @example {
             *       "Content-Length": "203850",
             *       "If-None-Match": "*"
             *     }
             */
            headers: {
                [key: string]: string;
            };
            /**
             * Format: date-time
             * @description Until when the PUT has to have started.
             * @example 2026-01-31T13:00:00.000Z
             */
            expires_at: string;
        };
        /** @description The sums of one group. */
        UsageGroup: {
            /**
             * @description The day, caller, outcome or value. Absent: all that is in no other group.
             * @example 2026-01-31
             */
            group?: string;
            /**
             * @description How often a job finished. One that is retried and finishes again counts again.
             * @example 41
             */
            jobs: number;
            /**
             * @description How many attempts finished, interrupted ones included: each once.
             * @example 43
             */
            attempts: number;
            /**
             * @description Their time in the backend's queue, as far as it is known.
             * @example 86.1
             */
            queued_seconds: number;
            /**
             * @description Their time in the start of containers, as far as it is known.
             * @example 389.5
             */
            startup_seconds: number;
            /**
             * @description Their time in runs, as far as it is known.
             * @example 2635.07
             */
            run_seconds: number;
            /**
             * @description What their runs cost, in each currency of a price that applied; empty without a price.
             * @example [
             *       {
             *         "amount": "0.58498554",
             *         "currency": "USD"
             *       }
             *     ]
             */
            costs: components["schemas"]["Cost"][];
        };
        /** @description The sums of all. */
        UsageTotal: {
            /**
             * @description How often a job finished. One that is retried and finishes again counts again.
             * @example 41
             */
            jobs: number;
            /**
             * @description How many attempts finished, interrupted ones included: each once.
             * @example 43
             */
            attempts: number;
            /**
             * @description Their time in the backend's queue, as far as it is known.
             * @example 86.1
             */
            queued_seconds: number;
            /**
             * @description Their time in the start of containers, as far as it is known.
             * @example 389.5
             */
            startup_seconds: number;
            /**
             * @description Their time in runs, as far as it is known.
             * @example 2635.07
             */
            run_seconds: number;
            /**
             * @description What their runs cost, in each currency of a price that applied; empty without a price.
             * @example [
             *       {
             *         "amount": "0.58498554",
             *         "currency": "USD"
             *       }
             *     ]
             */
            costs: components["schemas"]["Cost"][];
        };
        /** @description What attempts used that finished on these days. */
        Usage: {
            /**
             * @description The first day.
             * @example 2026-01-01
             */
            from: string;
            /**
             * @description The last day.
             * @example 2026-01-31
             */
            to: string;
            /** @description Days in order; other groups by their time in runs, the longest first, up to 1000. What is in none of them comes last. */
            groups: components["schemas"]["UsageGroup"][];
            total: components["schemas"]["UsageTotal"];
        };
        /** @description Whether jobs start. */
        Pause: {
            /**
             * @description Whether the start of jobs is paused now.
             * @example true
             */
            paused: boolean;
        };
        /** @description Jobs to submit together. */
        NewBatch: {
            /**
             * @description The jobs, up to 1000, each as the JSON of `POST /jobs`: face and speech by name.
             * @example [
             *       {
             *         "audio_path": "speech.wav"
             *       }
             *     ]
             */
            jobs: {
                [key: string]: unknown;
            }[];
            /**
             * @description Fields for the jobs that do not have them; for a job with another face or speech, not that one.
             * @example {
             *       "video_path": "face.mp4"
             *     }
             */
            defaults?: {
                [key: string]: unknown;
            };
            /**
             * @description Your own labels of the batch. Jobs have their own.
             * @example {
             *       "scene": "12"
             *     }
             */
            metadata?: {
                [key: string]: string;
            };
            /**
             * Format: uri
             * @description Where to be notified by a signed POST (Standard Webhooks): http or https, at a public address.
             * @example https://hooks.example.com/lip-sync
             */
            webhook_url?: string;
            /**
             * @description Whether to create no job if one of them is refused. Otherwise the others are created.
             * @example true
             */
            atomic?: boolean;
        };
        /** @description What became of one job: its id or its problem. */
        BatchResult: {
            /**
             * @description The id of the job.
             * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
             */
            job_id?: string;
            /** @description Why the job was not created. */
            problem?: {
                /**
                 * @description As of `POST /jobs`.
                 * @example invalid_request
                 * @enum {string}
                 */
                code: "attempt_not_found" | "bad_request" | "batch_not_found" | "batch_rejected" | "body_too_large" | "concurrency_limit_reached" | "cross_site_refused" | "delivery_in_progress" | "delivery_not_found" | "expectation_failed" | "headers_too_large" | "idempotency_key_reused" | "input_not_found" | "insufficient_scope" | "internal_error" | "invalid_idempotency_key" | "invalid_json" | "invalid_multipart" | "invalid_request" | "issuer_unavailable" | "job_canceled" | "job_failed" | "job_finished" | "job_not_finished" | "job_not_found" | "link_invalid" | "logs_unavailable" | "malformed_request" | "malformed_url" | "media_rejected" | "method_not_allowed" | "not_acceptable" | "output_unavailable" | "overloaded" | "parameter_not_supported" | "precondition_failed" | "queue_full" | "range_not_satisfiable" | "rate_limited" | "request_timeout" | "retry_limit_reached" | "route_not_found" | "server_ending" | "storage_full" | "store_unavailable" | "stream_limit_reached" | "unauthorized" | "unsupported_media" | "unsupported_media_type" | "uploads_need_public_url" | "uploads_need_shared_storage" | "upload_rejected" | "upload_store_unavailable" | "uploads_limit_reached" | "url_not_allowed" | "webhook_secret_not_shown" | "webhooks_not_configured";
                /**
                 * @description The HTTP status that it would have.
                 * @example 400
                 */
                status: number;
                /**
                 * @description What is wrong, in a sentence.
                 * @example audio_url: must be an http or https URL
                 */
                detail: string;
                /**
                 * @description Its invalid fields, up to 3.
                 * @example [
                 *       {
                 *         "path": "/audio_url",
                 *         "message": "must be an http or https URL"
                 *       }
                 *     ]
                 */
                errors?: {
                    /**
                     * @description The field, as a JSON Pointer into the job.
                     * @example /audio_url
                     */
                    path: string;
                    /**
                     * @description What is wrong with it.
                     * @example must be an http or https URL
                     */
                    message: string;
                }[];
            };
        };
        /** @description A batch with what became of each job. */
        SubmittedBatch: {
            /**
             * @description The id of the batch.
             * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
             */
            batch_id: string;
            /**
             * Format: date-time
             * @description When it was accepted.
             * @example 2026-01-31T12:00:00.000Z
             */
            created_at: string;
            /**
             * @description Whether all its jobs have finished.
             * @example false
             */
            finished: boolean;
            /** @description Its jobs by state. A job that is deleted counts as what it was. */
            counts: {
                /**
                 * @description Jobs that are submitted.
                 * @example 1
                 */
                submitted: number;
                /**
                 * @description Jobs that are running.
                 * @example 1
                 */
                running: number;
                /**
                 * @description Jobs that are succeeded.
                 * @example 1
                 */
                succeeded: number;
                /**
                 * @description Jobs that are failed.
                 * @example 1
                 */
                failed: number;
                /**
                 * @description Jobs that are canceled.
                 * @example 1
                 */
                canceled: number;
            };
            /**
             * @description How many jobs it has.
             * @example 2
             */
            total: number;
            /**
             * @description How many jobs were refused when it was submitted.
             * @example 0
             */
            refused: number;
            /** @description Sums over the attempts that have finished, those of deleted jobs included. */
            usage: {
                /**
                 * @description In the backend's queue, as far as it is known.
                 * @example 4.2
                 */
                queued_seconds: number;
                /**
                 * @description In the start of containers, as far as it is known.
                 * @example 19
                 */
                startup_seconds: number;
                /**
                 * @description In runs, as far as it is known.
                 * @example 128.54
                 */
                run_seconds: number;
            };
            /**
             * @description What they cost, in each currency of a price that applied; empty without a price.
             * @example [
             *       {
             *         "amount": "0.02853588",
             *         "currency": "USD"
             *       }
             *     ]
             */
            costs: components["schemas"]["Cost"][];
            /**
             * Format: date-time
             * @description When the last of its jobs is expected to finish, on `GET /batches/{id}` and in events: by recent runs, the progress, and the queue. Absent when nothing is known of one of them.
             * @example 2026-01-31T12:04:00.000Z
             */
            estimated_finish_at?: string;
            /**
             * @description Your own labels: up to 16 keys of 64 characters, values of 512.
             * @example {
             *       "scene": "12"
             *     }
             */
            metadata?: {
                [key: string]: string;
            };
            /**
             * @description Where its end is reported.
             * @example https://hooks.example.com/lip-sync
             */
            webhook_url?: string;
            /** @description Paths below the server. */
            links: {
                /**
                 * @description This batch.
                 * @example /batches/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
                 */
                self: string;
                /**
                 * @description Its jobs.
                 * @example /jobs?batch=0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
                 */
                jobs: string;
                /**
                 * @description Its counts as they change.
                 * @example /batches/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13/events
                 */
                events: string;
            };
            /**
             * @description For each job of the request, in its order, the id or the problem.
             * @example [
             *       {
             *         "job_id": "0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11"
             *       }
             *     ]
             */
            results: components["schemas"]["BatchResult"][];
        };
        /** @description Jobs that were submitted together. */
        Batch: {
            /**
             * @description The id of the batch.
             * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
             */
            batch_id: string;
            /**
             * Format: date-time
             * @description When it was accepted.
             * @example 2026-01-31T12:00:00.000Z
             */
            created_at: string;
            /**
             * @description Whether all its jobs have finished.
             * @example false
             */
            finished: boolean;
            /** @description Its jobs by state. A job that is deleted counts as what it was. */
            counts: {
                /**
                 * @description Jobs that are submitted.
                 * @example 1
                 */
                submitted: number;
                /**
                 * @description Jobs that are running.
                 * @example 1
                 */
                running: number;
                /**
                 * @description Jobs that are succeeded.
                 * @example 1
                 */
                succeeded: number;
                /**
                 * @description Jobs that are failed.
                 * @example 1
                 */
                failed: number;
                /**
                 * @description Jobs that are canceled.
                 * @example 1
                 */
                canceled: number;
            };
            /**
             * @description How many jobs it has.
             * @example 2
             */
            total: number;
            /**
             * @description How many jobs were refused when it was submitted.
             * @example 0
             */
            refused: number;
            /** @description Sums over the attempts that have finished, those of deleted jobs included. */
            usage: {
                /**
                 * @description In the backend's queue, as far as it is known.
                 * @example 4.2
                 */
                queued_seconds: number;
                /**
                 * @description In the start of containers, as far as it is known.
                 * @example 19
                 */
                startup_seconds: number;
                /**
                 * @description In runs, as far as it is known.
                 * @example 128.54
                 */
                run_seconds: number;
            };
            /**
             * @description What they cost, in each currency of a price that applied; empty without a price.
             * @example [
             *       {
             *         "amount": "0.02853588",
             *         "currency": "USD"
             *       }
             *     ]
             */
            costs: components["schemas"]["Cost"][];
            /**
             * Format: date-time
             * @description When the last of its jobs is expected to finish, on `GET /batches/{id}` and in events: by recent runs, the progress, and the queue. Absent when nothing is known of one of them.
             * @example 2026-01-31T12:04:00.000Z
             */
            estimated_finish_at?: string;
            /**
             * @description Your own labels: up to 16 keys of 64 characters, values of 512.
             * @example {
             *       "scene": "12"
             *     }
             */
            metadata?: {
                [key: string]: string;
            };
            /**
             * @description Where its end is reported.
             * @example https://hooks.example.com/lip-sync
             */
            webhook_url?: string;
            /** @description Paths below the server. */
            links: {
                /**
                 * @description This batch.
                 * @example /batches/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
                 */
                self: string;
                /**
                 * @description Its jobs.
                 * @example /jobs?batch=0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
                 */
                jobs: string;
                /**
                 * @description Its counts as they change.
                 * @example /batches/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13/events
                 */
                events: string;
            };
        };
        /** @description One page of batches. */
        BatchList: {
            /** @description Newest first. */
            batches: components["schemas"]["Batch"][];
            /**
             * @description Names the next page; absent on the last.
             * @example MTc2OTg2
             */
            next_cursor?: string;
        };
        /** @description A batch, and to how many of its jobs the request applied. */
        BatchOutcome: {
            /**
             * @description The id of the batch.
             * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
             */
            batch_id: string;
            /**
             * Format: date-time
             * @description When it was accepted.
             * @example 2026-01-31T12:00:00.000Z
             */
            created_at: string;
            /**
             * @description Whether all its jobs have finished.
             * @example false
             */
            finished: boolean;
            /** @description Its jobs by state. A job that is deleted counts as what it was. */
            counts: {
                /**
                 * @description Jobs that are submitted.
                 * @example 1
                 */
                submitted: number;
                /**
                 * @description Jobs that are running.
                 * @example 1
                 */
                running: number;
                /**
                 * @description Jobs that are succeeded.
                 * @example 1
                 */
                succeeded: number;
                /**
                 * @description Jobs that are failed.
                 * @example 1
                 */
                failed: number;
                /**
                 * @description Jobs that are canceled.
                 * @example 1
                 */
                canceled: number;
            };
            /**
             * @description How many jobs it has.
             * @example 2
             */
            total: number;
            /**
             * @description How many jobs were refused when it was submitted.
             * @example 0
             */
            refused: number;
            /** @description Sums over the attempts that have finished, those of deleted jobs included. */
            usage: {
                /**
                 * @description In the backend's queue, as far as it is known.
                 * @example 4.2
                 */
                queued_seconds: number;
                /**
                 * @description In the start of containers, as far as it is known.
                 * @example 19
                 */
                startup_seconds: number;
                /**
                 * @description In runs, as far as it is known.
                 * @example 128.54
                 */
                run_seconds: number;
            };
            /**
             * @description What they cost, in each currency of a price that applied; empty without a price.
             * @example [
             *       {
             *         "amount": "0.02853588",
             *         "currency": "USD"
             *       }
             *     ]
             */
            costs: components["schemas"]["Cost"][];
            /**
             * Format: date-time
             * @description When the last of its jobs is expected to finish, on `GET /batches/{id}` and in events: by recent runs, the progress, and the queue. Absent when nothing is known of one of them.
             * @example 2026-01-31T12:04:00.000Z
             */
            estimated_finish_at?: string;
            /**
             * @description Your own labels: up to 16 keys of 64 characters, values of 512.
             * @example {
             *       "scene": "12"
             *     }
             */
            metadata?: {
                [key: string]: string;
            };
            /**
             * @description Where its end is reported.
             * @example https://hooks.example.com/lip-sync
             */
            webhook_url?: string;
            /** @description Paths below the server. */
            links: {
                /**
                 * @description This batch.
                 * @example /batches/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
                 */
                self: string;
                /**
                 * @description Its jobs.
                 * @example /jobs?batch=0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
                 */
                jobs: string;
                /**
                 * @description Its counts as they change.
                 * @example /batches/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13/events
                 */
                events: string;
            };
            /**
             * @description How many jobs were changed.
             * @example 2
             */
            changed: number;
            /**
             * @description How many jobs could not be changed, since they had just finished or have reached a limit.
             * @example 0
             */
            unchanged: number;
        };
        /** @description One request to the receiver. While it runs, it has neither status nor error. */
        DeliveryTry: {
            /**
             * Format: date-time
             * @description When it started.
             * @example 2026-01-31T12:01:30.010Z
             */
            at: string;
            /**
             * @description Status of the answer, if there was one.
             * @example 200
             */
            status?: number;
            /**
             * @description How long it took.
             * @example 42
             */
            duration_ms?: number;
            /**
             * @description Why it failed.
             * @example the receiver answered 503
             */
            error?: string;
        };
        /** @description The delivery of one event to the webhook of a job, or of its output. */
        Delivery: {
            /**
             * @description Its number among the deliveries of the job; those of its batch start at 1,000,001, those of its output at 2,000,001.
             * @example 1
             */
            number: number;
            /**
             * @description `webhook`: an event; `output`: the video, by PUT to the `put_url` of the job; `copy`: the video, to the bucket of this server, which only administrators see.
             * @example webhook
             * @enum {string}
             */
            kind: "webhook" | "output" | "copy";
            /**
             * @description The `webhook-id` header, the same for every POST.
             * @example msg_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11_1
             */
            webhook_id?: string;
            /**
             * @description What has happened; for an output, `job.succeeded`. That the batch has finished stands with the job that finished last.
             * @example job.succeeded
             * @enum {string}
             */
            event: "job.running" | "job.succeeded" | "job.failed" | "job.canceled" | "job.delivered" | "batch.finished";
            /**
             * @description The attempt of the job that the event is about.
             * @example 1
             */
            attempt: number;
            /**
             * @description `failed`: every attempt failed, or the receiver answered 410.
             * @example delivered
             * @enum {string}
             */
            state: "pending" | "delivered" | "failed";
            /**
             * Format: date-time
             * @description When the event happened.
             * @example 2026-01-31T12:01:30.000Z
             */
            created_at: string;
            /**
             * Format: date-time
             * @description When the next attempt is due, while it is pending.
             * @example 2026-01-31T12:01:35.000Z
             */
            next_try_at?: string;
            /**
             * @description The last 50 attempts, oldest first.
             * @example [
             *       {
             *         "at": "2026-01-31T12:01:30.010Z",
             *         "status": 200,
             *         "duration_ms": 42
             *       }
             *     ]
             */
            tries: components["schemas"]["DeliveryTry"][];
        };
        /** @description The deliveries of a job: of its webhooks and its output. */
        DeliveryList: {
            /**
             * @description Where the job sends its events.
             * @example https://hooks.example.com/lip-sync
             */
            webhook_url?: string;
            /**
             * @description The events that the webhook reports; by default the three final ones, and `job.delivered` if there is an `output`.
             * @example [
             *       "job.running",
             *       "job.succeeded",
             *       "job.failed",
             *       "job.canceled"
             *     ]
             */
            webhook_events?: ("job.running" | "job.succeeded" | "job.failed" | "job.canceled" | "job.delivered")[];
            /** @description By number. */
            deliveries: components["schemas"]["Delivery"][];
        };
        /** @description A receiver to be tested. */
        NewWebhookTest: {
            /**
             * @description Where to send the event, as in `webhook_url`.
             * @example https://hooks.example.com/lip-sync
             */
            url: string;
        };
        /** @description What a receiver answered to a test event. */
        WebhookTest: {
            /**
             * @description The `webhook-id` header that the receiver got.
             * @example msg_test_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
             */
            webhook_id: string;
            /**
             * @description The state that the delivery of an event would have.
             * @example delivered
             * @enum {string}
             */
            state: "delivered" | "failed";
            /**
             * @description Status of the answer, if there was one.
             * @example 204
             */
            status?: number;
            /**
             * @description How long it took.
             * @example 42
             */
            duration_ms: number;
            /**
             * @description Why it failed.
             * @example the receiver answered 503
             */
            error?: string;
        };
        /** @description The secrets that verify the webhooks of a caller. */
        WebhookSecret: {
            /**
             * @description Verifies your webhooks: `whsec_` and base64.
             * @example whsec_c2VjcmV0LW9mLW9uZS1jYWxsZXItMDE=
             */
            secret: string;
            /**
             * @description All that currently sign, the newest first.
             * @example [
             *       "whsec_c2VjcmV0LW9mLW9uZS1jYWxsZXItMDE="
             *     ]
             */
            secrets: string[];
        };
        /** @description The process answers. */
        Health: {
            /**
             * @description The process answers.
             * @example ok
             * @enum {string}
             */
            status: "ok";
        };
        /** @description Whether this server should get requests. */
        Readiness: {
            /**
             * @description `unavailable` while the store does not answer, `ending` while the server shuts down.
             * @example ready
             * @enum {string}
             */
            status: "ready" | "unavailable" | "ending";
            /**
             * @description Whether the job store answers.
             * @example ok
             * @enum {string}
             */
            store: "ok" | "unavailable";
            /**
             * @description Whether the backend works. Jobs are accepted and kept either way.
             * @example ok
             * @enum {string}
             */
            backend: "ok" | "degraded";
            /**
             * @description Why the backend is degraded:
             *     - `spend_limit`: its spend limit is reached, so it starts nothing
             *     - `throttled`: it limits our requests
             *     - `unreachable`: it does not answer
             *     - `credentials`: it refuses the credentials of this server
             * @example unreachable
             * @enum {string}
             */
            reason?: "spend_limit" | "throttled" | "unreachable" | "credentials";
            /**
             * @description Present while an administrator has paused the start of jobs.
             * @example true
             * @enum {boolean}
             */
            paused?: true;
            /**
             * @description The deployed function, as last looked up:
             *     - `ok`: it is deployed and takes all arguments of the contract
             *     - `missing`: it is not deployed
             *     - `incompatible`: it lacks an argument of the contract, or needs another one; a warning in the log names it
             * @example ok
             * @enum {string}
             */
            function?: "ok" | "missing" | "incompatible";
        };
        /** @description Where to continue, relative to this server. */
        ServerLinks: {
            /**
             * @description The jobs.
             * @example /jobs
             */
            jobs: string;
            /**
             * @description Their changes, as a stream.
             * @example /events
             */
            events: string;
            /**
             * @description Whether the process is alive.
             * @example /healthz
             */
            health: string;
            /**
             * @description Whether it should get requests.
             * @example /readyz
             */
            readiness: string;
            /**
             * @description Its metrics.
             * @example /metrics
             */
            metrics: string;
            /**
             * @description The reference as a page, if it is public: a browser sends no credential when it follows a link.
             * @example /docs
             */
            docs?: string;
            /**
             * @description The reference as a document, if it is served.
             * @example /openapi.json
             */
            openapi?: string;
        };
        /** @description What answers at this address. */
        Server: {
            /**
             * @description The name of this program.
             * @example musetalk-orchestrator
             */
            name: string;
            /**
             * @description Its version.
             * @example 0.1.0
             */
            version: string;
            /**
             * @description `required`: requests need an API key or an access token.
             * @example none
             * @enum {string}
             */
            authentication: "none" | "required";
            links: components["schemas"]["ServerLinks"];
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: {
        /**
         * @description Where the job is, relative to this server.
         * @example /jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
         */
        Location: string;
        /**
         * @description Present if an earlier submit with this `Idempotency-Key` created the job.
         * @example true
         */
        "Idempotent-Replayed": "true";
        /**
         * @description Present if `Prefer` asked to wait: the longest wait in seconds (RFC 7240).
         * @example wait=30
         */
        "Preference-Applied": string;
        /**
         * @description Names this content, for `If-None-Match` (RFC 9110).
         * @example "pNk8xkV1uZrYc0mD"
         */
        ETag: string;
        /**
         * @description Present unless this is the last page: the next one, relative to the URL of the request (RFC 8288).
         * @example <?limit=20&cursor=MTc2OTg2MDgwMDAwMC4wMTk4YTZmMC03YzFlLTdhNTItOWQ1Yi0zZjFmNWEwYzJiMTE>; rel="next"
         */
        Link: string;
        /**
         * @description When the file was created.
         * @example Sat, 31 Jan 2026 12:01:30 GMT
         */
        "Last-Modified": string;
        /**
         * @description The server supports byte ranges.
         * @example bytes
         */
        "Accept-Ranges": string;
        /**
         * @description The range of this answer, and the size of the whole.
         * @example bytes 0-1023/203850
         */
        "Content-Range": string;
        /**
         * @description With `download=1`: the file name for the download.
         * @example attachment; filename="0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11.mp4"
         */
        "Content-Disposition": string;
        /**
         * @description The limits that apply: `q` requests of this kind in `w` seconds; for submits also `q` unfinished jobs (`"jobs"`), if there is such a limit.
         * @example "read";q=6000;w=60
         */
        "RateLimit-Policy": string;
        /**
         * @description How many requests remain (`r`), and the seconds until the window ends (`t`).
         * @example "read";r=5999;t=60
         */
        RateLimit: string;
        /**
         * @description Requests of this kind that you may send per minute.
         * @example 6000
         */
        "RateLimit-Limit": number;
        /**
         * @description How many of them remain.
         * @example 5999
         */
        "RateLimit-Remaining": number;
        /**
         * @description Seconds until the minute ends.
         * @example 60
         */
        "RateLimit-Reset": number;
        /**
         * @description The id of the request in the server's log.
         * @example 5f0c2b1a9d3e-1k
         */
        "X-Request-Id": string;
        /**
         * @description Seconds to wait before the next request.
         * @example 10
         */
        "Retry-After": number;
        /**
         * @description How to authenticate (RFC 6750).
         * @example Bearer realm="musetalk-orchestrator", error="invalid_token"
         */
        "WWW-Authenticate": string;
    };
    pathItems: never;
}
export type FieldError = components['schemas']['FieldError'];
export type Problem = components['schemas']['Problem'];
export type Progress = components['schemas']['Progress'];
export type InputFile = components['schemas']['InputFile'];
export type JobInput = components['schemas']['JobInput'];
export type MediaFacts = components['schemas']['MediaFacts'];
export type JobMedia = components['schemas']['JobMedia'];
export type OutputDelivery = components['schemas']['OutputDelivery'];
export type AttemptUsage = components['schemas']['AttemptUsage'];
export type Cost = components['schemas']['Cost'];
export type Attempt = components['schemas']['Attempt'];
export type JobLinks = components['schemas']['JobLinks'];
export type WebhookJob = components['schemas']['WebhookJob'];
export type JobRunningEvent = components['schemas']['JobRunningEvent'];
export type JobSucceededEvent = components['schemas']['JobSucceededEvent'];
export type JobFailedEvent = components['schemas']['JobFailedEvent'];
export type JobCanceledEvent = components['schemas']['JobCanceledEvent'];
export type JobDeliveredEvent = components['schemas']['JobDeliveredEvent'];
export type BatchFinishedEvent = components['schemas']['BatchFinishedEvent'];
export type WebhookTestEvent = components['schemas']['WebhookTestEvent'];
export type NewJobForm = components['schemas']['NewJobForm'];
export type NewJob = components['schemas']['NewJob'];
export type Job = components['schemas']['Job'];
export type JobEstimate = components['schemas']['JobEstimate'];
export type JobCheck = components['schemas']['JobCheck'];
export type JobList = components['schemas']['JobList'];
export type Result = components['schemas']['Result'];
export type NewUpload = components['schemas']['NewUpload'];
export type Upload = components['schemas']['Upload'];
export type UsageGroup = components['schemas']['UsageGroup'];
export type UsageTotal = components['schemas']['UsageTotal'];
export type Usage = components['schemas']['Usage'];
export type Pause = components['schemas']['Pause'];
export type NewBatch = components['schemas']['NewBatch'];
export type BatchResult = components['schemas']['BatchResult'];
export type SubmittedBatch = components['schemas']['SubmittedBatch'];
export type Batch = components['schemas']['Batch'];
export type BatchList = components['schemas']['BatchList'];
export type BatchOutcome = components['schemas']['BatchOutcome'];
export type DeliveryTry = components['schemas']['DeliveryTry'];
export type Delivery = components['schemas']['Delivery'];
export type DeliveryList = components['schemas']['DeliveryList'];
export type NewWebhookTest = components['schemas']['NewWebhookTest'];
export type WebhookTest = components['schemas']['WebhookTest'];
export type WebhookSecret = components['schemas']['WebhookSecret'];
export type Health = components['schemas']['Health'];
export type Readiness = components['schemas']['Readiness'];
export type ServerLinks = components['schemas']['ServerLinks'];
export type Server = components['schemas']['Server'];
export type HeaderLocation = components['headers']['Location'];
export type HeaderIdempotentReplayed = components['headers']['Idempotent-Replayed'];
export type HeaderPreferenceApplied = components['headers']['Preference-Applied'];
export type HeaderETag = components['headers']['ETag'];
export type HeaderLink = components['headers']['Link'];
export type HeaderLastModified = components['headers']['Last-Modified'];
export type HeaderAcceptRanges = components['headers']['Accept-Ranges'];
export type HeaderContentRange = components['headers']['Content-Range'];
export type HeaderContentDisposition = components['headers']['Content-Disposition'];
export type HeaderRateLimitPolicy = components['headers']['RateLimit-Policy'];
export type HeaderRateLimit = components['headers']['RateLimit'];
export type HeaderRateLimitLimit = components['headers']['RateLimit-Limit'];
export type HeaderRateLimitRemaining = components['headers']['RateLimit-Remaining'];
export type HeaderRateLimitReset = components['headers']['RateLimit-Reset'];
export type HeaderXRequestId = components['headers']['X-Request-Id'];
export type HeaderRetryAfter = components['headers']['Retry-After'];
export type HeaderWwwAuthenticate = components['headers']['WWW-Authenticate'];
export type $defs = Record<string, never>;
export interface operations {
    listJobs: {
        parameters: {
            query?: {
                /** @description States, separated by commas. For example `submitted,running`. */
                status?: string;
                /** @description Only jobs accepted after this time (RFC 3339). For example `2026-01-31T00:00:00Z`. */
                created_after?: string;
                /** @description Only jobs accepted before this time (RFC 3339). For example `2026-02-01T00:00:00Z`. */
                created_before?: string;
                /** @description Jobs on a page, 50 by default; fewer if they have more than 1 MiB. For example `20`. */
                limit?: number;
                /** @description Only jobs with this label: `metadata[KEY]=VALUE`, up to three times. For example `metadata[scene]=12`. */
                metadata?: {
                    [key: string]: string;
                };
                /** @description Only jobs of this batch. For example `0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13`. */
                batch?: string;
                /** @description Only jobs that failed with this code. For example `face_not_found`. */
                error_code?: "inference_failed" | "timed_out" | "input_unavailable" | "invalid_media" | "face_not_found" | "backend_unavailable" | "backend_rejected" | "lost" | "invalid_output";
                /** @description Only jobs of this model. For example `v15`. */
                version?: "v15" | "v1";
                /** @description Only jobs of this caller; for administrators. For example `key:studio`. */
                caller?: string;
                /** @description The `next_cursor` of the previous page. For example `MTc2OTg2MDgwMDAwMC4wMTk4YTZmMC03YzFlLTdhNTItOWQ1Yi0zZjFmNWEwYzJiMTE`. */
                cursor?: string;
            };
            header?: {
                /** @description The `ETag` of an answer that you have, or several: 304 without a body if it is still current. For example `"pNk8xkV1uZrYc0mD"`. */
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description One page. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    Link: components["headers"]["Link"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobList"];
                };
            };
            /** @description The answer that you have is still current. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    Link: components["headers"]["Link"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `insufficient_scope`: The credential lacks the scope that this needs. */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    submitJob: {
        parameters: {
            query?: {
                /** @description Whether only to check the request: everything is checked as for a job, files are read, and nothing is created or kept. The `Idempotency-Key` is not used, and the limits on numbers of jobs are not checked, since they may have changed by the time of the submit; a dry run counts against the rate limit. For example `true`. */
                dry_run?: boolean;
            };
            header?: {
                /** @description Makes the submit safe to repeat: the same request with the same key answers with the job that it created. 1 to 255 visible ASCII characters, bare or in double quotes. A key lives as long as its job. For example `scene-12-take-3`. */
                "Idempotency-Key"?: string;
                /** @description `wait=N` (RFC 7240): the answer waits until the job finishes, for at most N seconds and never more than 60. For example `wait=30`. */
                Prefer?: string;
                /** @description What tracing systems add to the trace (W3C Trace Context); the job's webhooks carry it on. Ignored without a `traceparent`, and if it is malformed or longer than 512 characters. For example `congo=t61rcWkgMzE`. */
                tracestate?: string;
                /** @description The trace of the request (W3C Trace Context). Its id is on the server's log lines for the request and the job, and the job's webhooks continue it. A malformed header is ignored. For example `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`. */
                traceparent?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewJob"];
                "multipart/form-data": components["schemas"]["NewJobForm"];
            };
        };
        responses: {
            /** @description The job finished within the time of `Prefer: wait`; or with `dry_run=true`, the request would be accepted. */
            200: {
                headers: {
                    Location: components["headers"]["Location"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    "Preference-Applied": components["headers"]["Preference-Applied"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Job"] | components["schemas"]["JobCheck"];
                };
            };
            /** @description The job is accepted, now or earlier with this `Idempotency-Key`; one with `reuse` may have succeeded already. */
            202: {
                headers: {
                    Location: components["headers"]["Location"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    "Preference-Applied": components["headers"]["Preference-Applied"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Job"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `invalid_json`: The body is not JSON.
             *     - `invalid_idempotency_key`: The `Idempotency-Key` is not valid.
             *     - `url_not_allowed`: The server may not fetch one of the URLs.
             *     - `webhooks_not_configured`: The server sends no webhooks: a submit that asks for one is refused (400), and there is no secret (404).
             *     - `invalid_multipart`: The body is not multipart/form-data, or is cut off.
             *     - `uploads_need_public_url`: The deployed function can neither fetch files, as the server has no PUBLIC_URL, nor get them with its call, as they are too large or as it does not take them.
             *     - `uploads_need_shared_storage`: The server accepts no files, because its replicas share no folder for them.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `cross_site_refused`: A page of another site asks for a change, and its origin is not allowed to.
             *     - `insufficient_scope`: The credential lacks the scope that this needs.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `webhooks_not_configured`: The server sends no webhooks: a submit that asks for one is refused (400), and there is no secret (404). */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `body_too_large`: The body is larger than the server accepts. */
            413: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `unsupported_media_type`: The body is of a type that this path does not accept, not in UTF-8, or compressed.
             *     - `unsupported_media`: The content of a file is not of a type that its field accepts.
             */
            415: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `parameter_not_supported`: The deployed function, or the program of the local backend, does not take one of the parameters.
             *     - `idempotency_key_reused`: The `Idempotency-Key` was used with another request.
             *     - `media_rejected`: A face has no picture or is larger than the server accepts, or a speech has no sound, has none to hear, or is longer than the server accepts; `errors` names each field, the fact and the limit.
             *     - `upload_rejected`: A file that was sent ahead is not there, is not what its upload said, has expired, or belongs to somebody else; `errors` names each field.
             */
            422: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows.
             *     - `concurrency_limit_reached`: You have as many unfinished jobs as one caller may have.
             */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             *     - `queue_full`: As many jobs are queued as the server accepts.
             *     - `upload_store_unavailable`: The bucket of uploads cannot be read; try again later.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `storage_full`: There is no room for the files; nothing was kept. */
            507: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getJob: {
        parameters: {
            query?: {
                /** @description Seconds that the answer may wait for the job to finish. For example `30`. */
                wait?: number;
            };
            header?: {
                /** @description The `ETag` of an answer that you have, or several: 304 without a body if it is still current. For example `"pNk8xkV1uZrYc0mD"`. */
                "If-None-Match"?: string;
            };
            path: {
                /**
                 * @description The id of the job.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The job. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Job"];
                };
            };
            /** @description The answer that you have is still current. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `insufficient_scope`: The credential lacks the scope that this needs. */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `job_not_found`: You have no job with this id. */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    deleteJob: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The id of the job.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The job is deleted. */
            204: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             *     - `invalid_json`: The body is not JSON.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `cross_site_refused`: A page of another site asks for a change, and its origin is not allowed to.
             *     - `insufficient_scope`: The credential lacks the scope that this needs.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `job_not_found`: You have no job with this id. */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `job_not_finished`: The job has not finished. */
            409: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `body_too_large`: The body is larger than the server accepts. */
            413: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unsupported_media_type`: The body is of a type that this path does not accept, not in UTF-8, or compressed. */
            415: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getResult: {
        parameters: {
            query?: never;
            header?: {
                /** @description The `ETag` of an answer that you have, or several: 304 without a body if it is still current. For example `"pNk8xkV1uZrYc0mD"`. */
                "If-None-Match"?: string;
            };
            path: {
                /**
                 * @description The id of the job.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The result. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Result"];
                };
            };
            /** @description The answer that you have is still current. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `insufficient_scope`: The credential lacks the scope that this needs. */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `job_not_found`: You have no job with this id. */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `job_not_finished`: The job has not finished.
             *     - `job_failed`: The job failed.
             *     - `job_canceled`: The job was canceled.
             */
            409: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    cancelJob: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The id of the job.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The job is canceled. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Job"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             *     - `invalid_json`: The body is not JSON.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `cross_site_refused`: A page of another site asks for a change, and its origin is not allowed to.
             *     - `insufficient_scope`: The credential lacks the scope that this needs.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `job_not_found`: You have no job with this id. */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `job_finished`: The job has finished. */
            409: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `body_too_large`: The body is larger than the server accepts. */
            413: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unsupported_media_type`: The body is of a type that this path does not accept, not in UTF-8, or compressed. */
            415: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    retryJob: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The id of the job.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The job starts again. */
            202: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Job"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             *     - `invalid_json`: The body is not JSON.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `cross_site_refused`: A page of another site asks for a change, and its origin is not allowed to.
             *     - `insufficient_scope`: The credential lacks the scope that this needs.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `job_not_found`: You have no job with this id. */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `job_not_finished`: The job has not finished.
             *     - `job_finished`: The job has finished.
             *     - `retry_limit_reached`: The job has been retried as often as a job may be.
             */
            409: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `body_too_large`: The body is larger than the server accepts. */
            413: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unsupported_media_type`: The body is of a type that this path does not accept, not in UTF-8, or compressed. */
            415: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows.
             *     - `concurrency_limit_reached`: You have as many unfinished jobs as one caller may have.
             */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             *     - `queue_full`: As many jobs are queued as the server accepts.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getOutput: {
        parameters: {
            query?: {
                /** @description `1`: as a download, not for display. For example `1`. */
                download?: "0" | "1";
                /** @description Of a signed link: when it expires, in seconds since 1970. For example `1769864400`. */
                expires?: string;
                /** @description Of a signed link. For example `2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM`. */
                signature?: string;
            };
            header?: never;
            path: {
                /**
                 * @description The id of the job.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The video. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Last-Modified": components["headers"]["Last-Modified"];
                    "Accept-Ranges": components["headers"]["Accept-Ranges"];
                    "Content-Disposition": components["headers"]["Content-Disposition"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "video/mp4": Blob;
                };
            };
            /** @description The requested range. */
            206: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Last-Modified": components["headers"]["Last-Modified"];
                    "Accept-Ranges": components["headers"]["Accept-Ranges"];
                    "Content-Range": components["headers"]["Content-Range"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "video/mp4": Blob;
                };
            };
            /** @description The video is at another address, which expires soon. */
            302: {
                headers: {
                    Location: components["headers"]["Location"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `insufficient_scope`: The credential lacks the scope that this needs.
             *     - `link_invalid`: The signed link was changed, has expired, or belongs to something else.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `job_not_found`: You have no job with this id. */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `job_not_finished`: The job has not finished.
             *     - `job_failed`: The job failed.
             *     - `job_canceled`: The job was canceled.
             */
            409: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `output_unavailable`: The video cannot be fetched from where it is kept (502), or has been deleted there (410). */
            410: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `precondition_failed`: `If-Match` or `If-Unmodified-Since` does not hold. */
            412: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `range_not_satisfiable`: The file has no such range; `Content-Range` says how long it is. */
            416: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `output_unavailable`: The video cannot be fetched from where it is kept (502), or has been deleted there (410). */
            502: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getInput: {
        parameters: {
            query?: {
                /** @description Of a signed link: when it expires, in seconds since 1970. For example `1769864400`. */
                expires?: string;
                /** @description Of a signed link. For example `2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM`. */
                signature?: string;
            };
            header?: never;
            path: {
                /**
                 * @description The id of the job.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
                 */
                id: string;
                /**
                 * @description Which file: `video`, `image` or `audio`.
                 * @example video
                 */
                kind: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Last-Modified": components["headers"]["Last-Modified"];
                    "Accept-Ranges": components["headers"]["Accept-Ranges"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "*/*": Blob;
                };
            };
            /** @description The requested range. */
            206: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Last-Modified": components["headers"]["Last-Modified"];
                    "Accept-Ranges": components["headers"]["Accept-Ranges"];
                    "Content-Range": components["headers"]["Content-Range"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "*/*": Blob;
                };
            };
            /** @description The file is at another address, which expires soon. */
            302: {
                headers: {
                    Location: components["headers"]["Location"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `insufficient_scope`: The credential lacks the scope that this needs.
             *     - `link_invalid`: The signed link was changed, has expired, or belongs to something else.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `job_not_found`: You have no job with this id.
             *     - `input_not_found`: The job has no such file.
             */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `output_unavailable`: The video cannot be fetched from where it is kept (502), or has been deleted there (410). */
            410: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `precondition_failed`: `If-Match` or `If-Unmodified-Since` does not hold. */
            412: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `range_not_satisfiable`: The file has no such range; `Content-Range` says how long it is. */
            416: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `output_unavailable`: The video cannot be fetched from where it is kept (502), or has been deleted there (410). */
            502: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             *     - `upload_store_unavailable`: The bucket of uploads cannot be read; try again later.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    createUpload: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewUpload"];
            };
        };
        responses: {
            /** @description Send the file now. */
            201: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Upload"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `invalid_json`: The body is not JSON.
             *     - `uploads_need_public_url`: The deployed function can neither fetch files, as the server has no PUBLIC_URL, nor get them with its call, as they are too large or as it does not take them.
             *     - `uploads_need_shared_storage`: The server accepts no files, because its replicas share no folder for them.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `cross_site_refused`: A page of another site asks for a change, and its origin is not allowed to.
             *     - `insufficient_scope`: The credential lacks the scope that this needs.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `body_too_large`: The body is larger than the server accepts. */
            413: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unsupported_media_type`: The body is of a type that this path does not accept, not in UTF-8, or compressed. */
            415: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows.
             *     - `uploads_limit_reached`: You have as many unused uploads as one caller may have.
             */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getLogs: {
        parameters: {
            query?: {
                /** @description Which attempt; the current one by default. For example `1`. */
                attempt?: number;
            };
            header?: never;
            path: {
                /**
                 * @description The id of the job.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The lines, as a stream. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `insufficient_scope`: The credential lacks the scope that this needs. */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `job_not_found`: You have no job with this id.
             *     - `attempt_not_found`: The job has no attempt of that number.
             */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `logs_unavailable`: There is no log: the job belongs to another backend (409), the log has been deleted (410), the backend failed (502), or too many logs are being read (503). */
            409: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `logs_unavailable`: There is no log: the job belongs to another backend (409), the log has been deleted (410), the backend failed (502), or too many logs are being read (503). */
            410: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows.
             *     - `stream_limit_reached`: You have as many streams of events and logs open as one caller may have.
             */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `logs_unavailable`: There is no log: the job belongs to another backend (409), the log has been deleted (410), the backend failed (502), or too many logs are being read (503). */
            502: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             *     - `logs_unavailable`: There is no log: the job belongs to another backend (409), the log has been deleted (410), the backend failed (502), or too many logs are being read (503).
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getUsage: {
        parameters: {
            query?: {
                /** @description The first day, in UTC; 29 days before the last one by default. For example `2026-01-01`. */
                from?: string;
                /** @description The last day, in UTC; today by default. At most 400 days in all. For example `2026-01-31`. */
                to?: string;
                /** @description What the groups are: `day` (by default), `caller`, `status` (how attempts ended) or `metadata.` and a key of your labels. For example `metadata.scene`. */
                group_by?: string;
                /** @description Only what jobs of this caller used; for administrators. For example `key:studio`. */
                caller?: string;
            };
            header?: {
                /** @description The `ETag` of an answer that you have, or several: 304 without a body if it is still current. For example `"pNk8xkV1uZrYc0mD"`. */
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The sums. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Usage"];
                };
            };
            /** @description The answer that you have is still current. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `insufficient_scope`: The credential lacks the scope that this needs. */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    pauseJobs: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done, or it was so already. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Pause"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `invalid_json`: The body is not JSON.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `cross_site_refused`: A page of another site asks for a change, and its origin is not allowed to.
             *     - `insufficient_scope`: The credential lacks the scope that this needs.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `body_too_large`: The body is larger than the server accepts. */
            413: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unsupported_media_type`: The body is of a type that this path does not accept, not in UTF-8, or compressed. */
            415: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    resumeJobs: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done, or it was so already. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Pause"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `invalid_json`: The body is not JSON.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `cross_site_refused`: A page of another site asks for a change, and its origin is not allowed to.
             *     - `insufficient_scope`: The credential lacks the scope that this needs.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `body_too_large`: The body is larger than the server accepts. */
            413: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unsupported_media_type`: The body is of a type that this path does not accept, not in UTF-8, or compressed. */
            415: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listBatches: {
        parameters: {
            query?: {
                /** @description Batches on a page, 50 by default. For example `20`. */
                limit?: number;
                /** @description Only batches of this caller; for administrators. For example `key:studio`. */
                caller?: string;
                /** @description The `next_cursor` of the previous page. For example `MTc2OTg2`. */
                cursor?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description One page. */
            200: {
                headers: {
                    Link: components["headers"]["Link"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BatchList"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `insufficient_scope`: The credential lacks the scope that this needs. */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    submitBatch: {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes the submit safe to repeat: the same batch with the same key is created once, as a whole. A key lives as long as its batch. For example `episode-7`. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewBatch"];
            };
        };
        responses: {
            /** @description The batch is accepted, now or earlier with this `Idempotency-Key`. */
            202: {
                headers: {
                    Location: components["headers"]["Location"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SubmittedBatch"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `invalid_json`: The body is not JSON.
             *     - `invalid_idempotency_key`: The `Idempotency-Key` is not valid.
             *     - `url_not_allowed`: The server may not fetch one of the URLs.
             *     - `webhooks_not_configured`: The server sends no webhooks: a submit that asks for one is refused (400), and there is no secret (404).
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `cross_site_refused`: A page of another site asks for a change, and its origin is not allowed to.
             *     - `insufficient_scope`: The credential lacks the scope that this needs.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `webhooks_not_configured`: The server sends no webhooks: a submit that asks for one is refused (400), and there is no secret (404). */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `body_too_large`: The body is larger than the server accepts. */
            413: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unsupported_media_type`: The body is of a type that this path does not accept, not in UTF-8, or compressed. */
            415: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `batch_rejected`: No job of the batch is right, or one is not and the batch is atomic. `errors` names job and field, up to 20.
             *     - `idempotency_key_reused`: The `Idempotency-Key` was used with another request.
             */
            422: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows.
             *     - `concurrency_limit_reached`: You have as many unfinished jobs as one caller may have.
             */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             *     - `queue_full`: As many jobs are queued as the server accepts.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getBatch: {
        parameters: {
            query?: {
                /** @description Wait until all jobs have finished, for at most so many seconds. For example `30`. */
                wait?: number;
            };
            header?: never;
            path: {
                /**
                 * @description The id of the batch.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The batch. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Batch"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `insufficient_scope`: The credential lacks the scope that this needs. */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `batch_not_found`: You have no batch with this id. */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    deleteBatch: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The id of the batch.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The batch is deleted. */
            204: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             *     - `invalid_json`: The body is not JSON.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `cross_site_refused`: A page of another site asks for a change, and its origin is not allowed to.
             *     - `insufficient_scope`: The credential lacks the scope that this needs.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `batch_not_found`: You have no batch with this id. */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `job_not_finished`: The job has not finished. */
            409: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `body_too_large`: The body is larger than the server accepts. */
            413: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unsupported_media_type`: The body is of a type that this path does not accept, not in UTF-8, or compressed. */
            415: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    cancelBatch: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The id of the batch.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The batch. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BatchOutcome"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             *     - `invalid_json`: The body is not JSON.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `cross_site_refused`: A page of another site asks for a change, and its origin is not allowed to.
             *     - `insufficient_scope`: The credential lacks the scope that this needs.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `batch_not_found`: You have no batch with this id. */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `body_too_large`: The body is larger than the server accepts. */
            413: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unsupported_media_type`: The body is of a type that this path does not accept, not in UTF-8, or compressed. */
            415: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    retryBatch: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The id of the batch.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The batch. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BatchOutcome"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             *     - `invalid_json`: The body is not JSON.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `cross_site_refused`: A page of another site asks for a change, and its origin is not allowed to.
             *     - `insufficient_scope`: The credential lacks the scope that this needs.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `batch_not_found`: You have no batch with this id. */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `body_too_large`: The body is larger than the server accepts. */
            413: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unsupported_media_type`: The body is of a type that this path does not accept, not in UTF-8, or compressed. */
            415: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    followBatch: {
        parameters: {
            query?: never;
            header?: {
                /** @description The id of the last event that you received; an `EventSource` sends it by itself. For example `2`. */
                "Last-Event-ID"?: string;
            };
            path: {
                /**
                 * @description The id of the batch.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The stream of events. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description All jobs have finished, and by `Last-Event-ID` you have the last event. */
            204: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `insufficient_scope`: The credential lacks the scope that this needs. */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `batch_not_found`: You have no batch with this id. */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `not_acceptable`: The `Accept` header excludes the only type that this path has. */
            406: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows.
             *     - `stream_limit_reached`: You have as many streams of events and logs open as one caller may have.
             */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    followJob: {
        parameters: {
            query?: never;
            header?: {
                /** @description The id of the last event that you received; an `EventSource` sends it by itself. For example `2`. */
                "Last-Event-ID"?: string;
            };
            path: {
                /**
                 * @description The id of the job.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The stream of events. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description The job has finished, and by `Last-Event-ID` you have its last event: do not connect again. */
            204: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `insufficient_scope`: The credential lacks the scope that this needs. */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `job_not_found`: You have no job with this id. */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `not_acceptable`: The `Accept` header excludes the only type that this path has. */
            406: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows.
             *     - `stream_limit_reached`: You have as many streams of events and logs open as one caller may have.
             */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    followJobs: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The stream of events. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `insufficient_scope`: The credential lacks the scope that this needs. */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `not_acceptable`: The `Accept` header excludes the only type that this path has. */
            406: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows.
             *     - `stream_limit_reached`: You have as many streams of events and logs open as one caller may have.
             */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listDeliveries: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The id of the job.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The deliveries. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeliveryList"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `insufficient_scope`: The credential lacks the scope that this needs. */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `job_not_found`: You have no job with this id. */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    redeliver: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The id of the job.
                 * @example 0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11
                 */
                id: string;
                /**
                 * @description The number of the delivery.
                 * @example 1
                 */
                n: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The delivery is due. */
            202: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Delivery"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `malformed_url`: The URL is not valid percent-encoded UTF-8.
             *     - `invalid_json`: The body is not JSON.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `cross_site_refused`: A page of another site asks for a change, and its origin is not allowed to.
             *     - `insufficient_scope`: The credential lacks the scope that this needs.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `job_not_found`: You have no job with this id.
             *     - `delivery_not_found`: The job has no delivery of that number.
             */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `delivery_in_progress`: The delivery is being attempted, or about to be. */
            409: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `body_too_large`: The body is larger than the server accepts. */
            413: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unsupported_media_type`: The body is of a type that this path does not accept, not in UTF-8, or compressed. */
            415: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    testWebhook: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewWebhookTest"];
            };
        };
        responses: {
            /** @description The event was sent, or could not be: see `state`. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookTest"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `invalid_json`: The body is not JSON.
             *     - `url_not_allowed`: The server may not fetch one of the URLs.
             *     - `webhooks_not_configured`: The server sends no webhooks: a submit that asks for one is refused (400), and there is no secret (404).
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `cross_site_refused`: A page of another site asks for a change, and its origin is not allowed to.
             *     - `insufficient_scope`: The credential lacks the scope that this needs.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `webhooks_not_configured`: The server sends no webhooks: a submit that asks for one is refused (400), and there is no secret (404). */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `body_too_large`: The body is larger than the server accepts. */
            413: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unsupported_media_type`: The body is of a type that this path does not accept, not in UTF-8, or compressed. */
            415: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getWebhookSecret: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The secrets. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookSecret"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             *     - `webhooks_not_configured`: The server sends no webhooks: a submit that asks for one is refused (400), and there is no secret (404).
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `insufficient_scope`: The credential lacks the scope that this needs.
             *     - `webhook_secret_not_shown`: Without authentication the webhook secret is the operator’s own, and is not shown.
             */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `webhooks_not_configured`: The server sends no webhooks: a submit that asks for one is refused (400), and there is no secret (404). */
            404: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getHealth: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Yes. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             */
            400: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getReadiness: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Yes. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             */
            400: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No: the store does not answer, or the server is shutting down. */
            503: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getMetrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The metrics. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             */
            400: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `insufficient_scope`: The credential lacks the scope that this needs. */
            403: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getReference: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The document. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "openapi": "3.1.1"
                     *     }
                     */
                    "application/json": {
                        [key: string]: unknown;
                    };
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    readReference: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `unauthorized`: There is no credential, or it is not valid. */
            401: {
                headers: {
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `issuer_unavailable`: The server cannot check the access token, because its issuer cannot be reached.
             *     - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    readProblems: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The page. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getServer: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The server. */
            200: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Server"];
                };
            };
            /** @description The reference is at another address. */
            302: {
                headers: {
                    Location: components["headers"]["Location"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            /**
             * @description - `malformed_request`: The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.
             *     - `invalid_request`: Fields of body or query are wrong, each named in `errors`; or there are two different credentials.
             */
            400: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `rate_limited`: You sent more requests, or wrong credentials, than a minute allows. */
            429: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description - `internal_error`: The server failed; its log has the error. */
            500: {
                headers: {
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /**
             * @description - `overloaded`: The server has more to do than it can, or too much of your earlier answers is still unread.
             *     - `store_unavailable`: The job store is unavailable; try again later.
             *     - `server_ending`: The server is shutting down and accepts nothing new.
             */
            503: {
                headers: {
                    "Retry-After": components["headers"]["Retry-After"];
                    "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                    RateLimit: components["headers"]["RateLimit"];
                    "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                    "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                    "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other problem, such as that of an unreadable request. */
            default: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    onJobRunningEvent: {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at one event.
                 * @example msg_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11_1
                 */
                "webhook-id": string;
                /**
                 * @description When it was sent, in seconds since 1970.
                 * @example 1769860890
                 */
                "webhook-timestamp": string;
                /**
                 * @description Signatures by each of your secrets, separated by spaces.
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["JobRunningEvent"];
            };
        };
        responses: {
            /** @description Any 2xx: the event was received. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The receiver wants no more webhooks of this job. */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    onJobSucceededEvent: {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at one event.
                 * @example msg_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11_1
                 */
                "webhook-id": string;
                /**
                 * @description When it was sent, in seconds since 1970.
                 * @example 1769860890
                 */
                "webhook-timestamp": string;
                /**
                 * @description Signatures by each of your secrets, separated by spaces.
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["JobSucceededEvent"];
            };
        };
        responses: {
            /** @description Any 2xx: the event was received. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The receiver wants no more webhooks of this job. */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    onJobFailedEvent: {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at one event.
                 * @example msg_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11_1
                 */
                "webhook-id": string;
                /**
                 * @description When it was sent, in seconds since 1970.
                 * @example 1769860890
                 */
                "webhook-timestamp": string;
                /**
                 * @description Signatures by each of your secrets, separated by spaces.
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["JobFailedEvent"];
            };
        };
        responses: {
            /** @description Any 2xx: the event was received. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The receiver wants no more webhooks of this job. */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    onJobCanceledEvent: {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at one event.
                 * @example msg_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11_1
                 */
                "webhook-id": string;
                /**
                 * @description When it was sent, in seconds since 1970.
                 * @example 1769860890
                 */
                "webhook-timestamp": string;
                /**
                 * @description Signatures by each of your secrets, separated by spaces.
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["JobCanceledEvent"];
            };
        };
        responses: {
            /** @description Any 2xx: the event was received. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The receiver wants no more webhooks of this job. */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    onJobDeliveredEvent: {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at one event.
                 * @example msg_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11_1
                 */
                "webhook-id": string;
                /**
                 * @description When it was sent, in seconds since 1970.
                 * @example 1769860890
                 */
                "webhook-timestamp": string;
                /**
                 * @description Signatures by each of your secrets, separated by spaces.
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["JobDeliveredEvent"];
            };
        };
        responses: {
            /** @description Any 2xx: the event was received. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The receiver wants no more webhooks of this job. */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    onBatchFinishedEvent: {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at one event.
                 * @example msg_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11_1
                 */
                "webhook-id": string;
                /**
                 * @description When it was sent, in seconds since 1970.
                 * @example 1769860890
                 */
                "webhook-timestamp": string;
                /**
                 * @description Signatures by each of your secrets, separated by spaces.
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BatchFinishedEvent"];
            };
        };
        responses: {
            /** @description Any 2xx: the event was received. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The receiver wants no more webhooks of this job. */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    onWebhookTestEvent: {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at one event.
                 * @example msg_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11_1
                 */
                "webhook-id": string;
                /**
                 * @description When it was sent, in seconds since 1970.
                 * @example 1769860890
                 */
                "webhook-timestamp": string;
                /**
                 * @description Signatures by each of your secrets, separated by spaces.
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WebhookTestEvent"];
            };
        };
        responses: {
            /** @description Any 2xx: the event was received. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The receiver wants no more webhooks of this job. */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
}
