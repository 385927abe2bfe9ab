//! The lab's tests in parts: several guests, each with one processor, run them at once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

/// How many parts there are for each guest that runs at once. One that ends early takes the next
/// part.
const PARTS_EACH: usize = 4;
/// A part of fewer tests is not worth a boot.
const SMALLEST: usize = 12;

/// One run of a test program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Run {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// Deals the tests that `arguments` select to parts, so that each guest gets some of each module.
///
/// A part holds the runs that one boot makes. A few tests are one part.
///
/// # Errors
/// When a program does not list its tests.
pub(super) fn parts(
    programs: &[PathBuf],
    arguments: &[String],
    guests: usize,
) -> Result<Vec<Vec<Run>>, Error> {
    let list = |program: &PathBuf| {
        Ok(Tests { program: program.clone(), names: names(program, arguments)? })
    };
    let lists = programs.iter().map(list).collect::<Result<Vec<Tests>, Error>>()?;
    let options: Vec<String> = options(arguments).cloned().collect();
    Ok(deal(&lists, &options, guests))
}

/// The selected tests of a program.
struct Tests {
    program: PathBuf,
    names: Vec<String>,
}

fn deal(lists: &[Tests], options: &[String], guests: usize) -> Vec<Vec<Run>> {
    let total: usize = lists.iter().map(|tests| tests.names.len()).sum();
    let most = if guests == 1 { 1 } else { guests * PARTS_EACH };
    let count = (total / SMALLEST).clamp(1, most);
    let part = |number: usize| -> Vec<Run> {
        let run = |tests: &Tests| {
            let mut arguments: Vec<String> =
                tests.names.iter().skip(number).step_by(count).cloned().collect();
            if arguments.is_empty() {
                return None;
            }
            arguments.push("--exact".to_owned());
            arguments.extend_from_slice(options);
            Some(Run { program: tests.program.clone(), arguments })
        };
        lists.iter().filter_map(run).collect()
    };
    (0..count).map(part).filter(|runs| !runs.is_empty()).collect()
}

/// The names that a test program lists for these arguments.
fn names(program: &Path, arguments: &[String]) -> Result<Vec<String>, Error> {
    let mut command = Command::new(program);
    command.arg("--list").args(arguments).stderr(Stdio::inherit());
    let name = program.display().to_string();
    let output = command.output().map_err(|error| Error::Start(name.clone(), error))?;
    if !output.status.success() {
        return Err(Error::Failed(format!("{name} --list")));
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    Ok(lines.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// The arguments that choose how tests run, without those that choose which.
fn options(arguments: &[String]) -> impl Iterator<Item = &String> {
    let mut is_skipped = false;
    arguments.iter().filter(move |argument| {
        let is_other = ["--exact", "--"].contains(&argument.as_str());
        let skipped = is_skipped || is_other || argument.starts_with("--skip=");
        is_skipped = *argument == "--skip";
        !skipped && !is_skipped && argument.starts_with('-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs_with(counts: [usize; 2]) -> [Tests; 2] {
        [("a", counts[0]), ("b", counts[1])].map(|(program, count)| Tests {
            program: program.into(),
            names: (0..count).map(|number| format!("{program}::{number}")).collect(),
        })
    }

    #[test]
    fn each_test_is_in_one_part() {
        for counts in [[0, 0], [1, 0], [0, 30], [100, 7], [500, 60]] {
            for guests in 1..5 {
                let lists = programs_with(counts);
                let parts = deal(&lists, &["--nocapture".to_owned()], guests);
                assert!(parts.len() <= guests * PARTS_EACH);
                assert_eq!(parts.len() > 1, guests > 1 && counts[0] + counts[1] >= 2 * SMALLEST);
                for tests in lists {
                    let runs = parts.iter().flatten().filter(|run| run.program == tests.program);
                    let (mut dealt, options): (Vec<String>, Vec<String>) = runs
                        .flat_map(|run| run.arguments.clone())
                        .partition(|argument| !argument.starts_with('-'));
                    dealt.sort_by_key(|name| tests.names.iter().position(|it| it == name));
                    assert_eq!(dealt, tests.names);
                    assert!(options.chunks(2).all(|run| run == ["--exact", "--nocapture"]));
                }
            }
        }
    }

    #[test]
    fn a_program_lists_the_tests_that_words_select() {
        let this = std::env::current_exe().expect("the path of the tests");
        let name = "a_program_lists_the_tests_that_words_select";
        let listed = names(&this, &[name.to_owned(), "--nocapture".to_owned()]).expect("a list");
        assert_eq!(listed.len(), 1);
        assert!(listed[0].ends_with(name));
        let unknown = ["no", "such", "test"].join("_");
        assert_eq!(parts(&[this], &[unknown], 2).expect("parts"), Vec::<Vec<Run>>::new());
    }

    #[test]
    fn options_leave_out_what_selects() {
        let arguments = ["word", "--skip", "a", "--nocapture", "--skip=b", "--exact", "-q", "--"];
        let arguments = arguments.map(str::to_owned);
        assert_eq!(options(&arguments).collect::<Vec<_>>(), ["--nocapture", "-q"]);
    }
}
