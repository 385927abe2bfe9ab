//! Tests the texts of findings against `tests/wording/doctor.txt`.

use crate::test_cases::{cases, findings};
use crate::{Code, Facts, Finding};

#[path = "../../../tests/wording/golden.rs"]
mod golden;

use golden::{Golden, section};

#[test]
fn every_code_has_a_case_and_its_texts_are_as_reviewed() {
    let mut golden = Golden::new("doctor.txt");
    let mut texts: Vec<(Code, String)> = Vec::new();
    for case in cases() {
        let of_code = |it: &(Facts, Finding)| it.1.code == case.code;
        for (facts, finding) in findings(&case).into_iter().filter(of_code) {
            let Finding { code, services, what, remedy } = finding;
            let labels = services.iter().map(|key| facts.desired.label(key).to_string());
            let labels: Vec<String> = labels.collect();
            let text = format!("{code} [{}] {what}\n  remedy: {remedy}", labels.join(", "));
            if !texts.iter().any(|(_, other)| *other == text) {
                texts.push((code, text));
            }
        }
    }
    section!(
        golden,
        Code {
            LoopbackDown,
            InterfaceDown,
            NoCarrier,
            Differs,
            VipNotBound,
            ModuleMissing,
            OtherWriter,
            Impossible,
            NotForwarding,
            Redirects,
            NotOnNetwork,
            NoRoute,
            PortMapped,
            TunnelMtu,
            NoRealServer,
            HashedToZero,
            StuckAtZero,
            DroppedAfterDrain,
            WildcardListener,
            Untracked,
            NoAnswer,
            ContestedVip,
            SourceMissing,
            AnswersArp,
            AnnouncesVip,
            FiltersTunnel,
            AnsweredElsewhere,
            ReturnPath,
            ThroughDirector,
            SeveralAnswer,
            SecondaryVip,
            GatewayRoute,
            GatewayEntry,
            OtherMac,
            GatewayNotForwarding
        },
        texts
    );
    golden.check();
}
