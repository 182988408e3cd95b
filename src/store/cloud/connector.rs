//! Listens to the answers of a cloud, so that a refusal keeps its meaning on the way up through the client library.

use futures::StreamExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService, ReqwestConnector,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::answer::Refusal;
use crate::store::StoreErrorKind;
use crate::store::settings::Settings;

/// Error bodies are a kilobyte; what is longer is no message for us.
const MAX_ERROR_BODY_BYTES: usize = 64 << 10;
/// Where Azure puts the code of an answer that has no body.
const AZURE_CODE_HEADER: &str = "x-ms-error-code";
/// Where machines of a cloud ask for their credentials.
const METADATA_HOSTS: [&str; 4] = ["169.254.169.254", "169.254.170.2", "169.254.170.23", "metadata.google.internal"];

/// Makes the usual HTTP clients, with an ear on each.
#[derive(Debug)]
pub(super) struct Connector(Arc<Metadata>);

#[derive(Debug)]
struct Listening {
    client: HttpClient,
    metadata: Arc<Metadata>,
}

/// The metadata service of this machine, if it has one.
#[derive(Debug)]
struct Metadata {
    /// Where the settings say it is, instead of the usual places.
    endpoint: Option<String>,
    has_answered: AtomicBool,
}

impl Connector {
    /// Listens for what is particular to these settings, too.
    pub(super) fn new(settings: &Settings) -> Self {
        let endpoint = settings.get("AWS_METADATA_ENDPOINT").map(str::to_owned);
        Self(Arc::new(Metadata { endpoint, has_answered: AtomicBool::new(false) }))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient, object_store::Error> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Listening { client, metadata: Arc::clone(&self.0) }))
    }
}

impl HttpService for Listening {
    fn call<'a, 'b>(&'a self, request: HttpRequest) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let asks_metadata = self.metadata.is_asked_by(&request);
            let answer = self.client.execute(request).await;
            if asks_metadata { self.metadata.judge(answer) } else { judge(answer?).await }
        })
    }
}

impl Metadata {
    fn is_asked_by(&self, request: &HttpRequest) -> bool {
        let uri = request.uri();
        uri.host().is_some_and(|host| METADATA_HOSTS.contains(&host))
            || self.endpoint.as_ref().is_some_and(|endpoint| uri.to_string().starts_with(endpoint))
    }

    /// Without any credentials set, the client asks the metadata service of a cloud's machine. When there has never been one, the
    /// operator forgot the credentials, and retrying would only make them wait for the news.
    fn judge(&self, answer: Result<HttpResponse, HttpError>) -> Result<HttpResponse, HttpError> {
        if answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
            self.has_answered.store(true, Ordering::Relaxed);
        }
        if self.has_answered.load(Ordering::Relaxed) {
            return answer;
        }
        match answer {
            Err(cause) => Err(no_credentials(&cause.to_string())),
            // On 403 the client tries the older protocol, if the settings let it.
            Ok(answer) if answer.status().as_u16() == 403 => Ok(answer),
            Ok(answer) => Err(no_credentials(answer.status().as_str())),
        }
    }
}

fn no_credentials(cause: &str) -> HttpError {
    let message = format!("no credentials are set, and this machine's metadata service gives none ({cause})");
    refused(Refusal { kind: StoreErrorKind::Misconfigured, status: None, code: String::new(), message })
}

async fn judge(answer: HttpResponse) -> Result<HttpResponse, HttpError> {
    let status = answer.status().as_u16();
    if answer.status().is_success() || status == 304 {
        return Ok(answer);
    }
    let (parts, body) = answer.into_parts();
    let body = read_start(body).await?;
    let header_code = parts.headers.get(AZURE_CODE_HEADER).and_then(|code| code.to_str().ok());
    match Refusal::judge(status, header_code, &String::from_utf8_lossy(&body)) {
        Some(refusal) => Err(refused(refusal)),
        None => Ok(HttpResponse::from_parts(parts, body.into())),
    }
}

/// Wrapped so that the client library passes it up untouched; `failure` finds it again.
fn refused(refusal: Refusal) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, refusal)
}

async fn read_start(body: HttpResponseBody) -> Result<Vec<u8>, HttpError> {
    let mut start = Vec::new();
    let mut stream = body.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        let room = MAX_ERROR_BODY_BYTES.saturating_sub(start.len());
        start.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if start.len() >= MAX_ERROR_BODY_BYTES {
            break;
        }
    }
    Ok(start)
}
