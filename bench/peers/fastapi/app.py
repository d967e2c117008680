"""The design that this server replaced, to be measured beside it: FastAPI, jobs in a dict, a thread for each job that
runs, nobody asked who they are. Its call of Modal is a sleep. Run it with uvicorn: python3 -m uvicorn app:app"""

import threading
import time
import uuid
from typing import Dict, Optional

from fastapi import FastAPI
from pydantic import BaseModel

# How long a call takes, in s. A real one takes minutes, and holds its thread for as long.
CALL_SECONDS = 1.0


class NewJob(BaseModel):
    video_path: Optional[str] = None
    video_url: Optional[str] = None
    image_url: Optional[str] = None
    audio_path: Optional[str] = None
    audio_url: Optional[str] = None
    version: str = "v15"


app = FastAPI()
jobs: Dict[str, dict] = {}


def run(job_id: str, job: NewJob) -> None:
    time.sleep(CALL_SECONDS)
    output_path = f"/shared/results/{job_id}/{job.version}/output.mp4"
    jobs[job_id] = {"job_id": job_id, "status": "succeeded", "output_path": output_path}


@app.get("/healthz")
async def health():
    return {"status": "ok"}


@app.post("/jobs", status_code=202)
async def submit(job: NewJob):
    job_id = str(uuid.uuid4())
    jobs[job_id] = {"job_id": job_id, "status": "submitted"}
    threading.Thread(target=run, args=(job_id, job), daemon=True).start()
    return jobs[job_id]


@app.get("/jobs/{job_id}")
async def get(job_id: str):
    return jobs.get(job_id, {"job_id": job_id, "status": "unknown"})
