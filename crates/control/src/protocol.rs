//! The protocol of the control socket: what a client and the daemon write to each other.
//!
//! A client connects, writes one request as a line of JSON, and reads one answer as a line of JSON:
//!
//! ```text
//! {"version":1,"request":{"pause":{"seconds":900}}}
//! {"version":1,"answer":{"done":"Paused: the daemon changes nothing for 15m"}}
//! ```
//!
//! After the answer to [`Request::Subscribe`], which is the status, the daemon writes an
//! [`Event`](crate::Event) a line until it writes [`EventKind::End`](crate::EventKind::End) or the
//! client disconnects.
//!
//! Clients from before there was a version write the request alone (`"status"`), and get the answer
//! alone. The version changes when a line would be misunderstood; new requests and events do not
//! change it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::status::Status;

/// The version of the protocol.
pub const PROTOCOL_VERSION: u32 = 1;

/// A query or a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Returns the status.
    Status,
    /// Returns the status, and from then on reports each event.
    Subscribe,
    /// Lets the held plan with this id be applied.
    Approve {
        /// As [`crate::Held::id`].
        id: String,
    },
    /// Pauses the daemon: it changes nothing for this long.
    Pause {
        /// Seconds; `None` until [`Self::Resume`].
        seconds: Option<u64>,
    },
    /// Ends the pause.
    Resume,
    /// Begins an operator's override of real servers.
    Override {
        /// The real servers: `SERVICE/REAL_SERVER`, or `REAL_SERVER` in every service.
        target: String,
        /// What is done to them.
        action: OverrideAction,
        /// For how long, in seconds; `None` until it is cleared.
        seconds: Option<u64>,
        /// The operator.
        by: String,
        /// Why; may be empty.
        reason: String,
    },
    /// Ends an override.
    ClearOverrides {
        /// Its target; `None` ends all of them.
        target: Option<String>,
    },
    /// Asks whether the spec at these paths may be applied beside the daemon.
    MayApply {
        /// Absolute paths, in order.
        sources: Vec<String>,
    },
}

/// What an override does to real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideAction {
    /// Weight 0: connections stay, and no new ones come.
    Drain,
    /// Out of the service at once.
    Disable,
    /// As the spec asks, whatever health checks say.
    Enable,
    /// This weight.
    Weight(u32),
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The daemon's status.
    Status(Box<Status>),
    /// The request was executed; a message for the user.
    Done(String),
    /// The request was refused; the reason.
    Refused(String),
}

/// How the messages of a connection are written.
#[cfg(feature = "server")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// In an object with the version.
    Versioned,
    /// Alone, as before there was a version.
    Bare,
}

/// Why a line is not understood.
#[derive(Debug, Error)]
pub(crate) enum LineError {
    /// It is no message of the protocol.
    #[error(transparent)]
    Invalid(#[from] serde_json::Error),
    /// It has another version; `None` where it has none.
    #[error("another version of the protocol")]
    OtherVersion(Option<u64>),
}

/// A request with the version.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionedRequest<R> {
    version: u32,
    request: R,
}

/// An answer with the version. Fields that a later evenkeel adds are ignored.
#[derive(Serialize, Deserialize)]
struct VersionedAnswer<A> {
    version: u32,
    answer: A,
}

/// Writes a request as a line.
pub(crate) fn encode_request(request: &Request) -> serde_json::Result<String> {
    let message = VersionedRequest { version: PROTOCOL_VERSION, request };
    Ok(serde_json::to_string(&message)? + "\n")
}

/// Reads a request, and the form in which its answer is to be written.
#[cfg(feature = "server")]
pub(crate) fn decode_request(line: &[u8]) -> Result<(Request, Form), LineError> {
    let message: Value = serde_json::from_slice(line)?;
    match version(&message) {
        None => Ok((Request::deserialize(message)?, Form::Bare)),
        Some(version) => {
            check(version)?;
            let VersionedRequest { request, .. } = VersionedRequest::deserialize(message)?;
            Ok((request, Form::Versioned))
        }
    }
}

/// Writes an answer as a line.
#[cfg(feature = "server")]
pub(crate) fn encode_answer(answer: &Answer, form: Form) -> serde_json::Result<String> {
    let text = match form {
        Form::Bare => serde_json::to_string(answer)?,
        Form::Versioned => {
            serde_json::to_string(&VersionedAnswer { version: PROTOCOL_VERSION, answer })?
        }
    };
    Ok(text + "\n")
}

/// Reads the answer to a request.
pub(crate) fn decode_answer(line: &str) -> Result<Answer, LineError> {
    // A status may be large, so it is not parsed into a tree first.
    match serde_json::from_str::<VersionedAnswer<Answer>>(line) {
        Ok(VersionedAnswer { version, answer }) => {
            check(version.into())?;
            Ok(answer)
        }
        Err(error) => {
            let message: Value = serde_json::from_str(line)?;
            match version(&message) {
                None => {
                    // Only a daemon from before there was a version answers without one.
                    serde_json::from_str::<Answer>(line)?;
                    Err(LineError::OtherVersion(None))
                }
                Some(version) => {
                    check(version)?;
                    Err(error.into())
                }
            }
        }
    }
}

fn version(message: &Value) -> Option<u64> {
    message.get("version").map(|version| version.as_u64().unwrap_or(u64::MAX))
}

fn check(version: u64) -> Result<(), LineError> {
    match version == u64::from(PROTOCOL_VERSION) {
        true => Ok(()),
        false => Err(LineError::OtherVersion(Some(version))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures;

    fn requests() -> Vec<Request> {
        vec![
            Request::Status,
            Request::Subscribe,
            Request::Approve { id: "a\"b\n".into() },
            Request::Pause { seconds: Some(u64::MAX) },
            Request::Pause { seconds: None },
            Request::Resume,
            Request::Override {
                target: "web/10.0.0.5:80".into(),
                action: OverrideAction::Weight(3),
                seconds: Some(7_200),
                by: "root".into(),
                reason: "new disks".into(),
            },
            Request::ClearOverrides { target: None },
            Request::MayApply { sources: vec!["/etc/evenkeel".into(), "/srv/x y".into()] },
        ]
    }

    #[test]
    fn every_request_is_read_as_it_was_written() {
        for request in requests() {
            let line = encode_request(&request).expect("JSON");
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(line.starts_with("{\"version\":1,\"request\":"), "{line}");
            let read = decode_request(line.as_bytes()).expect("a request");
            assert_eq!(read, (request, Form::Versioned));
        }
    }

    #[test]
    fn a_request_without_a_version_is_read_and_answered_without_one() {
        for request in requests() {
            let line = serde_json::to_string(&request).expect("JSON") + "\n";
            assert_eq!(decode_request(line.as_bytes()).expect("a request"), (request, Form::Bare));
        }
        let done = encode_answer(&Answer::Done("yes".into()), Form::Bare).expect("JSON");
        assert_eq!(done, "{\"done\":\"yes\"}\n");
    }

    #[test]
    fn every_answer_is_read_as_it_was_written() {
        let answers = [
            Answer::Status(Box::new(test_fixtures::status())),
            Answer::Done("it is\ndone".into()),
            Answer::Refused(String::new()),
        ];
        for answer in answers {
            let line = encode_answer(&answer, Form::Versioned).expect("JSON");
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert_eq!(decode_answer(&line).expect("an answer"), answer);
        }
    }

    #[test]
    fn another_version_is_recognized_whatever_the_message_holds() {
        for (line, version) in [
            ("{\"version\":2,\"request\":\"status\"}", 2),
            ("{\"version\":2,\"ask\":{\"new\":[]}}", 2),
            ("{\"version\":0,\"request\":\"status\"}", 0),
            ("{\"version\":\"1.0\",\"request\":\"status\"}", u64::MAX),
        ] {
            let error = decode_request(line.as_bytes()).expect_err("another version");
            assert!(matches!(error, LineError::OtherVersion(Some(it)) if it == version), "{line}");
        }
        for line in ["{\"version\":2,\"answer\":{\"done\":\"\"}}", "{\"version\":2}"] {
            let error = decode_answer(line).expect_err("another version");
            assert!(matches!(error, LineError::OtherVersion(Some(2))), "{line}");
        }
        let error = decode_answer("{\"done\":\"\"}").expect_err("no version");
        assert!(matches!(error, LineError::OtherVersion(None)));
    }

    #[test]
    fn what_is_no_message_is_invalid() {
        for line in [
            "",
            "status",
            "[]",
            "\"stop\"",
            "\"resume\" \"resume\"",
            "{\"approve\":{\"id\":\"x\",\"force\":true}}",
            "{\"version\":1}",
            "{\"version\":1,\"request\":\"stop\"}",
            "{\"version\":1,\"request\":\"resume\",\"force\":true}",
        ] {
            let error = decode_request(line.as_bytes()).expect_err(line);
            assert!(matches!(error, LineError::Invalid(_)), "{line}: {error}");
        }
        for line in ["", "{\"done\":7}", "{\"version\":1}", "{\"version\":1,\"answer\":{\"x\":1}}"]
        {
            let error = decode_answer(line).expect_err(line);
            assert!(matches!(error, LineError::Invalid(_)), "{line}: {error}");
        }
    }
}
