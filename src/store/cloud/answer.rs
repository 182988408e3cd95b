//! What a refusal over HTTP means, by its status and by the code that S3, Google and Azure put into the body.

use thiserror::Error;

use crate::store::StoreErrorKind;

/// A server said no, and we know what it meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{message}", prelude(*.status, .code))]
pub(super) struct Refusal {
    pub(super) kind: StoreErrorKind,
    /// None when there was no answer at all.
    pub(super) status: Option<u16>,
    pub(super) code: String,
    pub(super) message: String,
}

/// How much of a server's message is worth showing.
const MAX_MESSAGE_CHARS: usize = 300;

/// Codes that say more than the status they come with.
const CODES: [(StoreErrorKind, &[&str]); 4] = [
    (
        StoreErrorKind::Temporary,
        &[
            "SlowDown",
            "RequestTimeout",
            "InternalError",
            "ServiceUnavailable",
            "ServerBusy",
            "OperationTimedOut",
            // Somebody else changes the same name right now: neither there nor absent. As a 409 it would pass for "already there".
            "OperationAborted",
            "ConditionalRequestConflict",
        ],
    ),
    (
        StoreErrorKind::Misconfigured,
        &[
            "NoSuchBucket",
            "InvalidBucketName",
            "PermanentRedirect",
            "AuthorizationHeaderMalformed",
            "ContainerNotFound",
            "ContainerBeingDeleted",
            "InvalidResourceName",
            "NotImplemented",
        ],
    ),
    (
        StoreErrorKind::Full,
        &["QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "InsufficientCapacity"],
    ),
    (StoreErrorKind::Denied, &["ExpiredToken", "InvalidToken", "TokenRefreshRequired", "AccountIsDisabled"]),
];

impl Refusal {
    /// Judges an answer; nothing for those that the client library must see itself: 404, 409 and 412 decide between "not found"
    /// and "already there".
    pub(super) fn judge(status: u16, header_code: Option<&str>, body: &str) -> Option<Self> {
        let code = element(body, "Code").or(header_code).unwrap_or_default();
        let kind = by_code(code).or_else(|| by_status(status))?;
        let message = element(body, "Message").unwrap_or(body);
        let message = message.chars().take(MAX_MESSAGE_CHARS).collect();
        Some(Self { kind, status: Some(status), code: code.to_owned(), message })
    }
}

fn prelude(status: Option<u16>, code: &str) -> String {
    match status {
        Some(status) if code.is_empty() => format!("the server answered {status}: "),
        Some(status) => format!("the server answered {status} {code}: "),
        None => String::new(),
    }
}

fn by_code(code: &str) -> Option<StoreErrorKind> {
    CODES.iter().find(|(_, codes)| codes.contains(&code)).map(|(kind, _)| *kind)
}

fn by_status(status: u16) -> Option<StoreErrorKind> {
    match status {
        404 | 409 | 412 => None,
        401 | 403 => Some(StoreErrorKind::Denied),
        408 | 429 => Some(StoreErrorKind::Temporary),
        416 => Some(StoreErrorKind::OutOfRange),
        // A feature that this server does not have, such as the conditional put.
        501 => Some(StoreErrorKind::Misconfigured),
        507 => Some(StoreErrorKind::Full),
        // Redirects are followed below us; one that gets here leads nowhere, as for a bucket in another region.
        300..=399 => Some(StoreErrorKind::Misconfigured),
        500..=599 => Some(StoreErrorKind::Temporary),
        _ => Some(StoreErrorKind::Permanent),
    }
}

/// The text of the first XML element `name`. Error bodies are flat, and a wrong guess only makes a message worse.
fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, code: &str) -> Option<StoreErrorKind> {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>why</Message></Error>");
        let refusal = Refusal::judge(status, None, &body);
        assert!(refusal.as_ref().is_none_or(|refusal| refusal.message == "why" && refusal.code == code));
        refusal.map(|refusal| refusal.kind)
    }

    #[test]
    fn statuses_and_codes_mean_what_operators_need_to_know() {
        let check = |status, code, expected| assert_eq!(kind(status, code), Some(expected), "{status} {code}");
        check(503, "SlowDown", StoreErrorKind::Temporary);
        check(500, "", StoreErrorKind::Temporary);
        check(502, "", StoreErrorKind::Temporary);
        check(429, "TooManyRequests", StoreErrorKind::Temporary);
        check(400, "RequestTimeout", StoreErrorKind::Temporary);
        check(409, "ConditionalRequestConflict", StoreErrorKind::Temporary);
        check(403, "AccessDenied", StoreErrorKind::Denied);
        check(403, "SignatureDoesNotMatch", StoreErrorKind::Denied);
        check(400, "ExpiredToken", StoreErrorKind::Denied);
        check(401, "NoAuthenticationInformation", StoreErrorKind::Denied);
        check(403, "QuotaExceeded", StoreErrorKind::Full);
        check(507, "XMinioStorageFull", StoreErrorKind::Full);
        check(507, "", StoreErrorKind::Full);
        check(404, "NoSuchBucket", StoreErrorKind::Misconfigured);
        check(404, "ContainerNotFound", StoreErrorKind::Misconfigured);
        check(301, "PermanentRedirect", StoreErrorKind::Misconfigured);
        check(501, "NotImplemented", StoreErrorKind::Misconfigured);
        check(416, "InvalidRange", StoreErrorKind::OutOfRange);
        check(400, "BadDigest", StoreErrorKind::Permanent);
    }

    #[test]
    fn answers_that_decide_about_presence_are_left_to_the_client() {
        for (status, code) in [(404, "NoSuchKey"), (404, ""), (409, "BlobAlreadyExists"), (409, ""), (412, "PreconditionFailed")] {
            assert_eq!(kind(status, code), None, "{status} {code}");
        }
    }

    #[test]
    fn an_answer_without_a_body_is_judged_by_its_header() {
        let refusal = Refusal::judge(404, Some("ContainerNotFound"), "").unwrap();
        assert_eq!(refusal.kind, StoreErrorKind::Misconfigured);
    }

    #[test]
    fn a_long_foreign_message_is_cut_between_characters() {
        let refusal = Refusal::judge(500, None, &"ä".repeat(10_000)).unwrap();
        assert_eq!(refusal.message.chars().count(), 300);
    }
}
