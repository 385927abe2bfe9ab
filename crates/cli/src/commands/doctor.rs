//! `evenkeel doctor`: finds what keeps traffic from flowing through this host.

use evenkeel_doctor::{Code, Finding, NotChecked};
use evenkeel_engine::{Clock, IpvsUse};
use evenkeel_model::Names;
use evenkeel_plan::render::count;
use evenkeel_workflow::{Examination, ExamineRequest, NewSpec, examine};

use crate::args::{DoctorArgs, GlobalArgs};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::{self, EventLog};
use crate::input::{HostSpec, of_this_host};
use crate::output::Output;
use crate::render;

/// How many services a line names.
const NAMED: usize = 3;

/// The width of an explanation in columns.
const WIDTH: usize = 100;

pub(crate) fn run(
    arguments: &DoctorArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    if let Some(code) = arguments.explain {
        output.answer(explanation(code))?;
        return output.conclude(Ok(CommandExit::Done), || render::explained(code));
    }
    let spec = &arguments.spec;
    let HostSpec { loaded, texts, global } =
        of_this_host(&spec.spec, &spec.parameters, global, output)?;
    let global = &global;
    let desired = loaded.desired.clone();
    // A kernel without IPVS has a finding, and no module is loaded.
    let mut session = host::open_for_reading(global, IpvsUse::IfPresent, output)?;
    let mut events = EventLog::default();
    let request = ExamineRequest {
        desired,
        new: NewSpec { texts: &texts, parameters: &loaded.parameters() },
        cluster: loaded.cluster().cloned(),
        probe: arguments.probe,
        now: Clock::start().now(),
    };
    let examined = examine(&mut session, request, &mut events);
    events.print(output);
    let Examination { mut findings, mut not_checked, desired, last } = examined?;
    let names = Names { desired: &desired, last: last.as_ref() };
    let all = findings.len();
    findings.retain(|finding| !arguments.ignore.contains(&finding.code));
    let ignored = all - findings.len();
    for it in &mut not_checked {
        it.codes.retain(|code| !arguments.ignore.contains(code));
    }
    not_checked.retain(|it| !it.codes.is_empty());
    for finding in &findings {
        output.answer(text(finding, names))?;
    }
    for it in &not_checked {
        output.answer(not_checked_line(it))?;
    }
    output.answer(summary(&findings, ignored))?;
    let status = if findings.is_empty() { CommandExit::Done } else { CommandExit::Failed };
    output.conclude(Ok(status), || render::findings(&findings, ignored, &not_checked, names))
}

/// A finding in two lines.
fn text(finding: &Finding, names: Names<'_>) -> String {
    let Finding { code, services, what, remedy } = finding;
    let mut subjects: Vec<String> =
        services.iter().take(NAMED).map(|key| names.label(key).to_string()).collect();
    match services.len() {
        0 => subjects.push("this host".to_owned()),
        all if all > NAMED => subjects.push(format!("{} more", all - NAMED)),
        _ => {}
    }
    format!("{code} {}: {what}\n      remedy: {remedy}\n", subjects.join(", "))
}

/// What was not checked, in a line.
fn not_checked_line(NotChecked { codes, reason }: &NotChecked) -> String {
    let codes: Vec<&str> = codes.iter().map(|code| code.name()).collect();
    format!("not checked: {}: {reason}\n", codes.join(", "))
}

/// The last line.
fn summary(findings: &[Finding], ignored: usize) -> String {
    let ignored = match ignored {
        0 => String::new(),
        some => format!("; {some} ignored"),
    };
    match findings.first() {
        None => format!("No findings{ignored}.\n"),
        Some(first) => {
            let findings = count(findings.len(), "finding");
            format!(
                "{findings}{ignored}; `evenkeel doctor --explain {}` explains a code.\n",
                first.code
            )
        }
    }
}

/// A code with its explanation, in lines of at most [`WIDTH`] columns.
fn explanation(code: Code) -> String {
    let mut text = format!("{code}: {}\n\n", code.title());
    let mut column = 0;
    for word in code.explanation().split_whitespace() {
        let length = word.chars().count();
        match column {
            0 => {}
            _ if column + 1 + length > WIDTH => {
                text.push('\n');
                column = 0;
            }
            _ => {
                text.push(' ');
                column += 1;
            }
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use evenkeel_model::{Desired, ServiceKey};

    use super::*;

    fn finding(services: u16) -> Finding {
        let key = |port: u16| ServiceKey::parse(&format!("192.0.2.10:{port}/tcp")).expect("a key");
        Finding {
            code: Code::NotOnNetwork,
            services: (1..=services).map(key).collect::<BTreeSet<_>>(),
            what: "what is wrong".to_owned(),
            remedy: "what to do".to_owned(),
        }
    }

    #[test]
    fn a_finding_names_the_first_services_or_the_host() {
        let desired = Desired::default();
        let text = |services| text(&finding(services), Names::from(&desired));
        assert_eq!(text(0), "EK012 this host: what is wrong\n      remedy: what to do\n");
        assert!(text(1).starts_with("EK012 192.0.2.10:1/tcp: what is wrong\n"));
        let five = "EK012 192.0.2.10:1/tcp, 192.0.2.10:2/tcp, 192.0.2.10:3/tcp, 2 more: what";
        assert!(text(5).starts_with(five), "{}", text(5));
    }

    #[test]
    fn what_was_not_checked_names_its_codes() {
        let codes = BTreeSet::from([Code::ContestedVip, Code::NoAnswer]);
        let line = not_checked_line(&NotChecked { codes, reason: "a reason".to_owned() });
        assert_eq!(line, "not checked: EK022, EK023: a reason\n");
    }

    #[test]
    fn the_last_line_counts_findings_and_those_that_were_ignored() {
        assert_eq!(summary(&[], 0), "No findings.\n");
        assert_eq!(summary(&[], 2), "No findings; 2 ignored.\n");
        let found = summary(&[finding(0)], 1);
        assert_eq!(
            found,
            "1 finding; 1 ignored; `evenkeel doctor --explain EK012` explains a code.\n"
        );
    }

    #[test]
    fn an_explanation_has_every_word_and_no_long_lines() {
        for code in Code::ALL {
            let text = explanation(*code);
            assert!(text.starts_with(&format!("{code}: {}\n\n", code.title())));
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            let (_, body) = text.split_once("\n\n").expect("a paragraph");
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(body), words(code.explanation()));
        }
    }
}
