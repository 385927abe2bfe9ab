//! The checks, in a file for each group of codes.

mod addresses;
mod arp;
mod gateways;
mod interfaces;
mod listeners;
mod nat;
mod neighbours;
mod packet_filter;
mod real_servers;
mod scheduling;
mod state;
mod tunnels;

use std::collections::{BTreeMap, BTreeSet};

use crate::{Code, Facts, Finding, NotChecked, Question};

/// Returns what is to be asked of the hosts on the networks of this one. A MAC address that a program has set
/// is not asked for: the kernel uses it in any case.
pub fn questions(facts: &Facts) -> BTreeSet<Question> {
    neighbours::questions(facts).into_iter().chain(gateways::questions(facts)).collect()
}

/// Returns everything that keeps traffic from flowing, in the order of the codes.
pub fn check(facts: &Facts) -> Vec<Finding> {
    const CHECKS: [fn(&Facts, &mut Vec<Finding>); 12] = [
        interfaces::check,
        state::check,
        nat::check,
        real_servers::check,
        tunnels::check,
        scheduling::check,
        listeners::check,
        arp::check,
        addresses::check,
        packet_filter::check,
        neighbours::check,
        gateways::check,
    ];
    let mut findings = Vec::new();
    CHECKS.iter().for_each(|check| check(facts, &mut findings));
    findings.sort();
    findings
}

/// Returns what could not be checked, with the reasons: each reason once, with all codes that it concerns.
pub fn not_checked(facts: &Facts) -> Vec<NotChecked> {
    const CHECKS: [fn(&Facts, &mut Vec<NotChecked>); 7] = [
        state::not_checked,
        nat::not_checked,
        scheduling::not_checked,
        listeners::not_checked,
        packet_filter::not_checked,
        neighbours::not_checked,
        gateways::not_checked,
    ];
    let mut all = Vec::new();
    CHECKS.iter().for_each(|check| check(facts, &mut all));
    let mut by_reason: BTreeMap<String, BTreeSet<Code>> = BTreeMap::new();
    for NotChecked { codes, reason } in all {
        by_reason.entry(reason).or_default().extend(codes);
    }
    let mut merged: Vec<NotChecked> =
        by_reason.into_iter().map(|(reason, codes)| NotChecked { codes, reason }).collect();
    merged.sort();
    merged
}

/// Lists some words: `a`, `a and b`, `a, b and c`.
fn list<T: ToString>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}
