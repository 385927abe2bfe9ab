//! The overrides that stand beside the commands': those of the spec, and those of the maintenance directory.

use std::fs;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use evenkeel_model::{Desired, OverlayEffect, Override, OverrideTarget};
use evenkeel_plan::Warning;

/// The most files of a maintenance directory that are read.
const MOST: usize = 10_000;

/// Overrides, with what is wrong with some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StandingOverrides {
    /// Those in force. A later one is above an earlier one: first those of the spec, then of the directory.
    pub overrides: Vec<Override>,
    /// What cannot be followed.
    pub warnings: Vec<Warning>,
}

/// Reads the overrides of a spec and of its maintenance directory at a time, in seconds since 1970.
///
/// As ldirectord has it, a file in that directory drains the real server that it is named after: `10.0.0.5` on all
/// ports, `10.0.0.5:80` on one. A directory that does not exist has no files; one that cannot be read gives a
/// warning, and `before` stays in force.
pub fn standing_overrides(
    desired: &Desired,
    now: u64,
    before: &StandingOverrides,
) -> StandingOverrides {
    let mut found = StandingOverrides::default();
    for it in &desired.overrides {
        match it.until {
            Some(until) if until <= now => found
                .warnings
                .push(Warning::OverrideExpired { target: it.target.to_string(), until }),
            _ => found.overrides.push(it.clone()),
        }
    }
    let Some(directory) = desired.maintenance_dir.as_deref() else { return found };
    match maintained(directory) {
        Ok((overrides, strangers)) => {
            found.overrides.extend(overrides);
            if !strangers.is_empty() {
                let (directory, names) = (directory.display().to_string(), strangers);
                found.warnings.push(Warning::MaintenanceNames { directory, names });
            }
        }
        Err(error) => {
            let of_directory = before.overrides.iter().filter(|it| &*it.by == BY);
            found.overrides.extend(of_directory.cloned());
            found.warnings.push(Warning::MaintenanceUnread {
                directory: directory.display().to_string(),
                error: error.to_string(),
            });
        }
    }
    found
}

/// Who drains the real servers of a maintenance directory.
const BY: &str = "maintenance_dir";

/// Returns the overrides of the files of a directory, and the names that name no real server.
fn maintained(directory: &Path) -> io::Result<(Vec<Override>, Vec<String>)> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        entries => entries?,
    };
    let (mut overrides, mut strangers) = (Vec::new(), Vec::new());
    for entry in entries.take(MOST) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Editors and package managers leave such files.
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        match name.parse::<OverrideTarget>() {
            Ok(target) if target.service.is_none() => {
                let since = entry.metadata().and_then(|it| it.modified()).ok();
                let since = since.and_then(|it| it.duration_since(UNIX_EPOCH).ok());
                overrides.push(Override {
                    target,
                    effect: OverlayEffect::Weight(0),
                    since: since.map_or(0, |it| it.as_secs()),
                    until: None,
                    by: BY.into(),
                    reason: "".into(),
                });
            }
            _ => strangers.push(name),
        }
    }
    overrides.sort_by_key(|it| it.target.to_string());
    strangers.sort();
    Ok((overrides, strangers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(desired: &Desired, before: &StandingOverrides) -> StandingOverrides {
        standing_overrides(desired, 100, before)
    }

    #[test]
    fn an_override_of_the_spec_ends_with_a_warning() {
        let of_spec = |until| Override {
            target: "web/10.0.0.5".parse().expect("a target"),
            effect: OverlayEffect::Out,
            since: 0,
            until,
            by: "the spec".into(),
            reason: "".into(),
        };
        let overrides = vec![of_spec(None), of_spec(Some(101)), of_spec(Some(100))];
        let desired = Desired { overrides, ..Desired::default() };
        let found = standing(&desired, &StandingOverrides::default());
        assert_eq!(found.overrides, desired.overrides[..2]);
        let target = "web/10.0.0.5".to_owned();
        assert_eq!(found.warnings, [Warning::OverrideExpired { target, until: 100 }]);
    }

    #[test]
    fn a_file_named_after_a_real_server_drains_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().join("maintenance");
        let maintenance_dir = Some(directory.clone().into_boxed_path());
        let desired = Desired { maintenance_dir, ..Desired::default() };
        let none = StandingOverrides::default();
        assert_eq!(standing(&desired, &none), none, "there is no directory");
        fs::create_dir(&directory).expect("a directory");
        for name in ["10.0.0.5", "[2001:db8::5]:80", "2001:db8::6", "web1.example", ".swp", "x~"] {
            fs::write(directory.join(name), "").expect("a file");
        }
        let found = standing(&desired, &none);
        let targets: Vec<String> =
            found.overrides.iter().map(|it| format!("{} {}", it.action(), it.target)).collect();
        assert_eq!(targets, ["drain 10.0.0.5", "drain [2001:db8::5]:80", "drain [2001:db8::6]"]);
        assert!(found.overrides.iter().all(|it| it.since > 0 && it.until.is_none()));
        let names = vec!["web1.example".to_owned()];
        let name = directory.display().to_string();
        assert_eq!(found.warnings, [Warning::MaintenanceNames { directory: name, names }]);
        // One that cannot be read ends nothing.
        fs::remove_dir_all(&directory).expect("it is removed");
        fs::write(&directory, "").expect("a file");
        let kept = standing(&desired, &found);
        assert_eq!(kept.overrides, found.overrides);
        assert!(matches!(&kept.warnings[..], [Warning::MaintenanceUnread { .. }]));
    }
}
