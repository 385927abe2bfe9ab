//! The file format of saved plans: a line with its format and a checksum, then its body, both JSON.
//!
//! The body holds all inputs of the plan except for the host: the texts of the spec and the values of
//! their parameters, so that the spec's files are no longer needed. Guards overridden with `--allow`
//! are not stored.
//!
//! The checksum protects against damage and careless edits, not against malice: anyone who may
//! write the file might as well write a spec.
//!
//! The format is in the same crate as the journal's because both hold steps: a program contains what
//! reads and writes steps once.

use evenkeel_plan::Op;
use serde::{Deserialize, Serialize};

use crate::ParameterValues;
use crate::plan_origin::PlanOrigin;
use crate::store::Envelope;

/// The first line.
const ENVELOPE: Envelope = Envelope { key: "evenkeel_plan", version_covered_since: None };

/// The content of a saved plan: the plan with its inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// The version of evenkeel that made it: other versions may plan differently.
    pub evenkeel: String,
    /// Where it was made.
    pub origin: PlanOrigin,
    /// The services that it is limited to; empty for all.
    pub target: Vec<String>,
    /// The spec.
    pub texts: Vec<PlanText>,
    /// The values of the parameters in the texts.
    pub parameters: ParameterValues,
    /// The operations, in order.
    pub steps: Vec<Op>,
}

/// A text of the spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanText {
    /// Its name.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// Why a text is not the content of a saved plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanFileProblem {
    /// It is another kind of file.
    NoPlan,
    /// Its format is not [`PlanFile::FORMAT`] but this one.
    Format(u32),
    /// It was changed or damaged after it was written.
    Changed,
}

impl PlanFile {
    /// The format that this build writes, and the only one that it reads.
    pub const FORMAT: u32 = 2;

    /// The two parts of the file: its first line and its body.
    ///
    /// # Errors
    /// As [`serde_json::to_vec_pretty`].
    pub fn to_parts(&self) -> Result<[Vec<u8>; 2], serde_json::Error> {
        let mut body = serde_json::to_vec_pretty(self)?;
        body.push(b'\n');
        Ok([ENVELOPE.header(Self::FORMAT, &body).into_bytes(), body])
    }

    /// Parses a file.
    ///
    /// # Errors
    /// It is not as [`Self::to_parts`] wrote it.
    pub fn from_bytes(text: &[u8]) -> Result<Self, PlanFileProblem> {
        match ENVELOPE.version(text) {
            None if text.starts_with(b"{\"evenkeel_plan\":") => {
                return Err(PlanFileProblem::Changed);
            }
            None => return Err(PlanFileProblem::NoPlan),
            Some(Self::FORMAT) => {}
            Some(format) => return Err(PlanFileProblem::Format(format)),
        }
        let body = ENVELOPE.body(Self::FORMAT, text).ok_or(PlanFileProblem::Changed)?;
        serde_json::from_slice(body).map_err(|_| PlanFileProblem::Changed)
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_host::NamespaceIdentity;
    use evenkeel_model::Binding;

    use super::*;

    fn example() -> PlanFile {
        let identity = NamespaceIdentity {
            boot: "0f3c".into(),
            cookie: Some(1),
            device: 4,
            inode: 4_026_531_840,
            is_first: true,
        };
        PlanFile {
            evenkeel: "1.0.0".to_owned(),
            origin: PlanOrigin {
                host: "lb1".to_owned(),
                namespace: "init".to_owned(),
                identity,
                owner: evenkeel_model::OwnerName::default(),
                role: "director".to_owned(),
            },
            target: vec!["web".to_owned()],
            texts: vec![PlanText {
                name: "web.yaml".to_owned(),
                text: "version: 1\n# caf\u{e9}\n".to_owned(),
            }],
            parameters: [("env:CLUSTER".into(), "a".into())].into(),
            steps: vec![Op::Bind {
                binding: Binding::host([192, 0, 2, 1].into(), "eth0"),
                label: None,
            }],
        }
    }

    #[test]
    fn the_first_line_has_the_digest_of_the_body_alone() {
        // echo -n body | sha256sum
        let digest = "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5";
        let expected = format!("{{\"evenkeel_plan\":2,\"sha256\":\"{digest}\"}}\n");
        assert_eq!(ENVELOPE.header(PlanFile::FORMAT, b"body"), expected);
    }

    #[test]
    fn every_changed_byte_is_detected() {
        let text = example().to_parts().expect("it can be written").concat();
        assert_eq!(PlanFile::from_bytes(&text), Ok(example()));
        for place in 0..text.len() {
            for change in [1, 0x20, 0x80] {
                let mut changed = text.clone();
                changed[place] ^= change;
                assert!(PlanFile::from_bytes(&changed).is_err(), "byte {place}");
            }
        }
    }

    #[test]
    fn a_truncated_or_extended_file_is_refused() {
        let text = example().to_parts().expect("it can be written").concat();
        for length in 0..text.len() {
            assert!(PlanFile::from_bytes(&text[..length]).is_err(), "{length} bytes");
        }
        let longer = [&*text, b"\n"].concat();
        assert_eq!(PlanFile::from_bytes(&longer), Err(PlanFileProblem::Changed), "a line too many");
    }

    #[test]
    fn another_file_and_another_format_are_distinguished_from_damage() {
        for (text, problem) in [
            (&b"version: 1\n"[..], PlanFileProblem::NoPlan),
            (b"", PlanFileProblem::NoPlan),
            (b"{\"evenkeel_plan\":1,\"sha256\":\"00\"}\n{}\n", PlanFileProblem::Format(1)),
            (b"{\"evenkeel_plan\":2,", PlanFileProblem::Changed),
        ] {
            assert_eq!(PlanFile::from_bytes(text), Err(problem));
        }
    }
}
