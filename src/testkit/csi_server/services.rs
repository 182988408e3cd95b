//! Both services in one: requests become calls, and a script's steps become a stream.

use std::pin::Pin;
use std::sync::PoisonError;

use futures::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};

use super::script::{Call, Script, Step};
use super::{Calls, Volume};
use crate::rpc::wire::csi::v1 as driver;
use crate::rpc::wire::icecore::blocks::BlockMetadataMessage;
use crate::rpc::wire::snapshotmetadata as sidecar;

type Answer = Result<BlockMetadataMessage, Status>;
type Answers = Pin<Box<dyn Stream<Item = Answer> + Send>>;

#[derive(Debug, Clone)]
pub(super) struct Service {
    volume: Volume,
    script: Script,
    calls: Calls,
}

impl Service {
    pub(super) fn new(volume: Volume, script: Script, calls: Calls) -> Self {
        Self { volume, script, calls }
    }

    fn answer<T>(&self, request: Request<T>, into_call: impl FnOnce(T) -> Call) -> Result<Response<Answers>, Status> {
        let has_deadline = request.metadata().contains_key("grpc-timeout");
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let call = Call { number: calls.len(), has_deadline, ..into_call(request.into_inner()) };
        calls.push(call.clone());
        drop(calls);
        let steps = self.script.steps(&call, &self.volume);
        // A service that refuses at once sends no stream at all.
        if let Some(Step::Fail(code)) = steps.first() {
            return Err(failure(*code));
        }
        Ok(Response::new(stream::iter(steps).flat_map(play).boxed()))
    }
}

fn failure(code: tonic::Code) -> Status {
    Status::new(code, "as the script says")
}

fn play(step: Step) -> Answers {
    match step {
        Step::Send(message) => stream::iter([Ok(message)]).boxed(),
        Step::Fail(code) => stream::iter([Err(failure(code))]).boxed(),
        Step::Hang => stream::pending().boxed(),
        Step::Endless(message) => stream::repeat(message).map(Ok).boxed(),
    }
}

fn call() -> Call {
    Call {
        number: 0,
        base: None,
        target: String::new(),
        namespace: None,
        token: None,
        secrets: Vec::new(),
        from: 0,
        max_results: 0,
        has_deadline: false,
    }
}

#[tonic::async_trait]
impl sidecar::snapshot_metadata_server::SnapshotMetadata for Service {
    type GetMetadataAllocatedStream = Answers;
    type GetMetadataDeltaStream = Answers;

    async fn get_metadata_allocated(
        &self,
        request: Request<sidecar::GetMetadataAllocatedRequest>,
    ) -> Result<Response<Answers>, Status> {
        self.answer(request, |asked| Call {
            target: asked.snapshot_name,
            namespace: Some(asked.namespace),
            token: Some(asked.security_token),
            from: asked.starting_offset,
            max_results: asked.max_results,
            ..call()
        })
    }

    async fn get_metadata_delta(&self, request: Request<sidecar::GetMetadataDeltaRequest>) -> Result<Response<Answers>, Status> {
        self.answer(request, |asked| Call {
            base: Some(asked.base_snapshot_id),
            target: asked.target_snapshot_name,
            namespace: Some(asked.namespace),
            token: Some(asked.security_token),
            from: asked.starting_offset,
            max_results: asked.max_results,
            ..call()
        })
    }
}

#[tonic::async_trait]
impl driver::snapshot_metadata_server::SnapshotMetadata for Service {
    type GetMetadataAllocatedStream = Answers;
    type GetMetadataDeltaStream = Answers;

    async fn get_metadata_allocated(
        &self,
        request: Request<driver::GetMetadataAllocatedRequest>,
    ) -> Result<Response<Answers>, Status> {
        self.answer(request, |asked| Call {
            target: asked.snapshot_id,
            secrets: asked.secrets.into_iter().collect(),
            from: asked.starting_offset,
            max_results: asked.max_results,
            ..call()
        })
    }

    async fn get_metadata_delta(&self, request: Request<driver::GetMetadataDeltaRequest>) -> Result<Response<Answers>, Status> {
        self.answer(request, |asked| Call {
            base: Some(asked.base_snapshot_id),
            target: asked.target_snapshot_id,
            secrets: asked.secrets.into_iter().collect(),
            from: asked.starting_offset,
            max_results: asked.max_results,
            ..call()
        })
    }
}
