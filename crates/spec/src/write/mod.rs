//! Writes a state as a spec.
//!
//! The text is canonical: the same state gives the same bytes. Objects that the rules of a spec
//! refuse, but that a kernel may hold because another tool wrote them, carry `unchecked: true`. The
//! few settings that no spec can express are left out, with a comment that names them.

mod global;
mod host_object;
mod input;
mod merge;
mod pools;
mod scalar;
mod service;
mod snapshot_section;

use std::fmt::Write;

use evenkeel_model::{BindWhen, Binding, Drain, Limits, Scope, Vip};

pub use input::WriteInput;
use pools::Pools;
use scalar::{address, list, text};

/// Writes the spec of a state.
pub fn write(input: &WriteInput) -> String {
    let mut out = String::from("version: 1\n");
    if let Some(name) = input.owner.as_str() {
        out.push_str(&format!("owner: {}\n", scalar::text(name)));
    }
    scope(input, &mut out);
    if !input.vips.is_empty() {
        out.push_str("\nvips:\n");
        for (binding, vip) in &input.vips {
            line(&mut out, format_args!("  - {{ {} }}", vip_keys(input, binding, vip)));
        }
    }
    host_object::sections(input, &mut out);
    let entries = merge::entries(input);
    let pools = if input.pooled { Pools::of(&entries) } else { Pools::default() };
    let none = if entries.is_empty() { " []" } else { "" };
    line(&mut out, format_args!("\nservices:{none}"));
    for (index, entry) in entries.iter().enumerate() {
        entry.write(pools.used_by(index), &mut out);
    }
    pools.write(&mut out);
    if input.drain != Drain::default() {
        line(&mut out, format_args!("\ndefaults: {{ drain: {} }}", input.drain));
    }
    global::write(input, &mut out);
    snapshot_section::write(input, &mut out);
    out
}

/// Appends a line; writing to a string cannot fail.
fn line(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(arguments);
    debug_assert!(written.is_ok());
    out.push('\n');
}

fn scope(input: &WriteInput, out: &mut String) {
    let WriteInput { scope, when_left, .. } = input;
    match scope {
        Scope::Implied => {}
        Scope::All => out.push_str("\nscope: all\n"),
        Scope::Limited(Limits { vips, fwmarks, services }) => {
            let vips = vips.iter().map(|network| {
                let is_host = network.prefix_len() == network.max_prefix_len();
                if is_host { address(network.addr()) } else { text(&network.to_string()) }
            });
            let fwmarks = fwmarks.iter().map(|range| match (range.start(), range.end()) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            });
            out.push_str("\nscope:\n");
            for (key, entries) in [("vips", list(vips)), ("fwmarks", list(fwmarks))] {
                if entries != "[]" {
                    line(out, format_args!("  {key}: {entries}"));
                }
            }
            let is_empty = *scope == Scope::Limited(Limits::default());
            if is_empty || !services.is_empty() {
                line(out, format_args!("  services:{}", if is_empty { " []" } else { "" }));
            }
            for service in services {
                line(out, format_args!("    - {}", text(&service.to_string())));
            }
            if let Some(answer) = when_left {
                line(out, format_args!("  left: {}", answer.as_str()));
            }
        }
    }
}

fn vip_keys(input: &WriteInput, binding: &Binding, vip: &Vip) -> String {
    let Binding { address: bound, interface, prefix } = binding;
    let Vip { dummy, label, bind } = vip;
    let host = evenkeel_model::Family::from(*bound).host_prefix();
    let bound = if *prefix == host { address(*bound) } else { text(&format!("{bound}/{prefix}")) };
    let dummy = if *dummy { ", dummy: true" } else { "" };
    let label = label.as_ref().map(|label| format!(", label: {}", text(label))).unwrap_or_default();
    let bind = match bind {
        BindWhen::Auto => "",
        BindWhen::Always => ", bind: always",
    };
    let route = host_object::route_key(input, binding);
    format!("address: {bound}, interface: {}{dummy}{label}{bind}{route}", text(interface))
}

#[cfg(test)]
mod tests;
