//! Plans saved to files, to be reviewed and then applied unchanged or not at all.
//!
//! The file ([`PlanFile`]) holds the plan with its inputs. An apply makes a fresh plan from these, and
//! the saved one must be the same ([`evenkeel_plan::staleness_diff`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evenkeel_engine::{
    Directory, FileError, FileUse, ParameterValues, PlanFile, PlanFileProblem, PlanOrigin, PlanText,
};
use evenkeel_host::{AnonymousPipes, InputFile};
use evenkeel_model::Desired;
use evenkeel_model::{HostRoles, OwnerName};
use evenkeel_plan::{Op, staleness_diff};
use evenkeel_spec::{RememberedParameters, Source};
use thiserror::Error;

/// An upper bound for the length of a plan, given the maximum length of a spec.
const LONGEST: u64 = 1 << 30;

/// A plan with its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedPlan(PlanFile);

/// Why the file of a saved plan was not written, or cannot be applied.
#[derive(Debug, Error)]
pub enum PlanFileError {
    /// It cannot be read.
    #[error("cannot read the saved plan {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The plan is not applied.
    #[error(transparent)]
    Refused(#[from] SavedPlanError),
}

/// Why a saved plan is not applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SavedPlanError {
    /// It is no saved plan.
    #[error("{} is not a plan written by `evenkeel plan --out`", .0.display())]
    NoPlan(PathBuf),
    /// Its format is not the one that this build reads.
    #[error("{} has saved-plan format {format}; this build reads format {}", path.display(), PlanFile::FORMAT)]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// It was changed after it was written.
    #[error("{} was changed after it was written: its checksum does not match", .0.display())]
    Changed(PathBuf),
    /// Another version of evenkeel made it.
    #[error("the plan was made by evenkeel {made}; this is evenkeel {}", env!("CARGO_PKG_VERSION"))]
    Version {
        /// That version.
        made: String,
    },
    /// It was made on another host.
    #[error("the plan was made on host `{made}`; this is `{here}`")]
    Host {
        /// That host.
        made: String,
        /// This one.
        here: String,
    },
    /// The host was rebooted.
    #[error("the host was rebooted since the plan was made")]
    Boot,
    /// It was made in another network namespace.
    #[error("the plan was made in network namespace `{made}`; this is `{here}`")]
    Namespace {
        /// That namespace.
        made: String,
        /// This one.
        here: String,
    },
    /// The network namespace was deleted and created again.
    #[error("network namespace `{0}` was recreated since the plan was made")]
    NamespaceRecreated(String),
    /// It was made for another role.
    #[error("the plan was made for a host that is {made}; this one is: {here}")]
    Role {
        /// That role.
        made: String,
        /// This one.
        here: String,
    },
    /// The host has changed; holds the difference of the steps.
    #[error("the plan is out of date: the host has changed since it was made\n{}", .0.trim_end())]
    Stale(String),
}

impl SavedPlan {
    /// A plan made from those texts with those values of parameters.
    pub fn new(
        origin: PlanOrigin,
        target: &[String],
        sources: &[Source],
        parameters: ParameterValues,
        steps: &[Op],
    ) -> Self {
        let texts = sources.iter().map(|Source { name, text, .. }| PlanText {
            name: name.clone(),
            // A spec that is not UTF-8 is rejected before planning.
            text: String::from_utf8_lossy(text).into_owned(),
        });
        Self(PlanFile {
            evenkeel: env!("CARGO_PKG_VERSION").to_owned(),
            origin,
            target: target.to_vec(),
            texts: texts.collect(),
            parameters,
            steps: steps.to_vec(),
        })
    }

    /// Writes it durably to a file that only its owner may read, atomically replacing an existing one.
    ///
    /// # Errors
    /// The file cannot be written; an existing one is unchanged.
    pub fn write(&self, path: &Path) -> Result<(), PlanFileError> {
        let fail = |source| PlanFileError::Unwritable { path: path.to_owned(), source };
        // Renaming would replace a terminal or a pipe with a file.
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(fail(io::Error::other("it exists and is not a regular file")));
        }
        let Some(name) = path.file_name() else {
            return Err(fail(io::ErrorKind::IsADirectory.into()));
        };
        let [header, body] = self.0.to_parts().map_err(|error| fail(error.into()))?;
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        Directory::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.replace(name, FileUse::Export, &[&header, &body]))
            .map_err(|error: FileError| fail(error.into()))
    }

    /// Reads a plan that is to be applied here.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or was made by another version or for another host.
    pub fn read(path: &Path, here: &PlanOrigin) -> Result<Self, PlanFileError> {
        let fail = |source| PlanFileError::Unreadable { path: path.to_owned(), source };
        let opened = InputFile::open(path, AnonymousPipes::Accepted);
        let text = opened.and_then(|it| it.read(LONGEST)).map_err(|error| fail(error.into()))?;
        let plan = Self::from_bytes(&text, path)?;
        plan.check_origin(here)?;
        Ok(plan)
    }

    /// The texts of its spec.
    pub fn sources(&self) -> Vec<Source> {
        self.0.texts.iter().map(|it| Source::new(it.name.clone(), it.text.as_bytes())).collect()
    }

    /// The values of the parameters in the texts.
    pub fn parameters(&self) -> RememberedParameters {
        RememberedParameters(self.0.parameters.clone())
    }

    /// The services that it is limited to; empty for all.
    pub fn target(&self) -> &[String] {
        &self.0.target
    }

    /// The owner that it was made for.
    pub fn owner(&self) -> &OwnerName {
        &self.0.origin.owner
    }

    /// Checks that it was made for these roles.
    ///
    /// # Errors
    /// [`SavedPlanError::Role`]
    pub fn check_roles(&self, here: &HostRoles) -> Result<(), SavedPlanError> {
        let (made, here) = (self.0.origin.role.clone(), here.to_string());
        if made == here { Ok(()) } else { Err(SavedPlanError::Role { made, here }) }
    }

    /// Compares it with a fresh plan of the same texts.
    ///
    /// # Errors
    /// [`SavedPlanError::Stale`]
    pub fn check(
        &self,
        fresh: &[Op],
        desired: &Desired,
        last: Option<&Desired>,
    ) -> Result<(), SavedPlanError> {
        staleness_diff(&self.0.steps, fresh, desired, last)
            .map_or(Ok(()), |diff| Err(SavedPlanError::Stale(diff)))
    }

    fn from_bytes(text: &[u8], path: &Path) -> Result<Self, SavedPlanError> {
        PlanFile::from_bytes(text).map(Self).map_err(|problem| {
            let path = path.to_owned();
            match problem {
                PlanFileProblem::NoPlan => SavedPlanError::NoPlan(path),
                PlanFileProblem::Format(format) => SavedPlanError::Format { path, format },
                PlanFileProblem::Changed => SavedPlanError::Changed(path),
            }
        })
    }

    fn check_origin(&self, here: &PlanOrigin) -> Result<(), SavedPlanError> {
        let PlanFile { evenkeel, origin, .. } = &self.0;
        if evenkeel != env!("CARGO_PKG_VERSION") {
            return Err(SavedPlanError::Version { made: evenkeel.clone() });
        }
        let PlanOrigin { host, namespace, identity, owner: _, role: _ } = origin;
        let both = |made: &String, here: &String| (made.clone(), here.clone());
        if *host != here.host {
            let (made, here) = both(host, &here.host);
            return Err(SavedPlanError::Host { made, here });
        }
        if identity.boot != here.identity.boot {
            return Err(SavedPlanError::Boot);
        }
        if *namespace != here.namespace {
            let (made, here) = both(namespace, &here.namespace);
            return Err(SavedPlanError::Namespace { made, here });
        }
        if !identity.is_same(&here.identity) {
            return Err(SavedPlanError::NamespaceRecreated(namespace.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use evenkeel_host::NamespaceIdentity;
    use evenkeel_model::Binding;

    use super::*;

    fn lb1() -> PlanOrigin {
        PlanOrigin {
            host: "lb1".to_owned(),
            namespace: "init".to_owned(),
            identity: NamespaceIdentity {
                boot: "0f3c".into(),
                cookie: Some(1),
                device: 4,
                inode: 4_026_531_840,
                is_first: true,
            },
            owner: evenkeel_model::OwnerName::default(),
            role: "director".to_owned(),
        }
    }

    fn example() -> SavedPlan {
        let steps =
            [Op::Bind { binding: Binding::host([192, 0, 2, 1].into(), "eth0"), label: None }];
        let sources = [Source::new("web.yaml", "version: 1\n# caf\u{e9}\n")];
        let parameters = [("env:CLUSTER".into(), "a".into())].into();
        SavedPlan::new(lb1(), &["web".to_owned()], &sources, parameters, &steps)
    }

    fn parse(text: &[u8]) -> Result<SavedPlan, SavedPlanError> {
        SavedPlan::from_bytes(text, Path::new("plan"))
    }

    #[test]
    fn a_written_plan_is_read_unchanged_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plan");
        fs::write(&path, "something else").expect("a file");
        example().write(&path).expect("it can be written");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(SavedPlan::read(&path, &lb1()).expect("it can be read"), example());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing beside it");
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plan");
        fs::create_dir(&path).expect("a folder");
        for path in [&*path, Path::new("/dev/null")] {
            let outcome = example().write(path);
            assert!(matches!(outcome, Err(PlanFileError::Unwritable { .. })), "{outcome:?}");
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_link_beside_it_or_in_its_place_is_replaced_and_what_it_points_to_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, victim) = (folder.path().join("plan"), folder.path().join("victim"));
        fs::write(&victim, "untouched").expect("a file");
        let beside = folder.path().join(format!("plan.{}.new", std::process::id()));
        for link in [&path, &beside] {
            symlink(&victim, link).expect("a link");
        }
        example().write(&path).expect("it can be written");
        assert_eq!(fs::read_to_string(&victim).expect("it is there"), "untouched");
        assert!(path.symlink_metadata().expect("it is there").is_file());
        assert!(!beside.is_symlink());
    }

    #[test]
    fn another_file_and_another_format_are_distinguished_from_damage() {
        assert_eq!(parse(b"version: 1\n"), Err(SavedPlanError::NoPlan("plan".into())));
        assert_eq!(parse(b""), Err(SavedPlanError::NoPlan("plan".into())));
        let text = b"{\"evenkeel_plan\":1,\"sha256\":\"00\"}\n{}\n";
        assert_eq!(parse(text), Err(SavedPlanError::Format { path: "plan".into(), format: 1 }));
        assert_eq!(parse(b"{\"evenkeel_plan\":2,"), Err(SavedPlanError::Changed("plan".into())));
    }

    #[test]
    fn a_plan_of_another_version_or_origin_is_refused_with_the_reason() {
        let made = |change: fn(&mut PlanFile)| {
            let mut plan = example();
            change(&mut plan.0);
            plan.check_origin(&lb1()).map_err(|plan_error| plan_error.to_string())
        };
        assert_eq!(made(|_| {}), Ok(()));
        let version = made(|it| it.evenkeel = "0.0.1".into()).expect_err("refused");
        assert!(version.starts_with("the plan was made by evenkeel 0.0.1; this is "), "{version}");
        for (change, message) in [
            (
                (|it| it.origin.host = "lb2".into()) as fn(&mut PlanFile),
                "the plan was made on host `lb2`; this is `lb1`",
            ),
            (
                |it| it.origin.identity.boot = "1".into(),
                "the host was rebooted since the plan was made",
            ),
            (
                |it| it.origin.namespace = "blue".into(),
                "the plan was made in network namespace `blue`; this is `init`",
            ),
            (
                |it| it.origin.identity.cookie = Some(2),
                "network namespace `init` was recreated since the plan was made",
            ),
        ] {
            assert_eq!(made(change), Err(message.to_owned()));
        }
    }

    #[test]
    fn a_plan_of_another_role_is_refused() {
        let check = |roles: &HostRoles| example().check_roles(roles).map_err(|it| it.to_string());
        assert_eq!(check(&HostRoles::default()), Ok(()));
        let message = "the plan was made for a host that is director; this one is: no role";
        assert_eq!(check(&HostRoles::NONE), Err(message.to_owned()));
    }
}
