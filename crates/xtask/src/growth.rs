//! `cargo xtask growth`: how evenkeel's own work grows with the number of objects.
//!
//! Counts instructions, which do not depend on how busy the machine is, of one operation of each kind with
//! 100 to 10,000 objects: valgrind runs this program twice for each, once only to prepare the states and once
//! for the operation too. The exponent says how many times as much ten times the objects cost: 1 is
//! ten times, 2 a hundred times. The kernel takes no part: a kernel in memory takes its place, because the
//! real one searches lists whose length is the number of objects.

mod cases;
mod states;

use std::path::PathBuf;
use std::process::Command;

use clap::{Args, ValueEnum};

use crate::error::Error;
use crate::workspace::Workspace;
use cases::Case;

/// Arguments of `cargo xtask growth`.
#[derive(Args)]
pub(crate) struct Growth {
    /// The numbers of objects, ascending
    #[arg(long, value_delimiter = ',', default_values_t = [100, 300, 1_000, 3_000, 10_000])]
    sizes: Vec<usize>,
    /// The exponent that no operation may reach
    #[arg(long, default_value_t = 1.15)]
    limit: f64,
    /// Measure this build of xtask; one that is optimized for a release if it is not given
    #[arg(long)]
    program: Option<PathBuf>,
    /// Measure only operations whose names contain one of these words
    words: Vec<String>,
}

impl Growth {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let program = match self.program {
            Some(program) => program,
            None => Workspace::find()?.xtask_release()?,
        };
        let is_meant = |name: &str| {
            self.words.is_empty() || self.words.iter().any(|word| name.contains(&**word))
        };
        println!(
            "Millions of instructions by the number of objects; the exponents of the whole row"
        );
        println!("and of its last step\n");
        let sizes: String = self.sizes.iter().map(|size| format!("{size:>10}")).collect();
        println!("{:<22}{sizes}     row    step", "");
        let mut over = Vec::new();
        for case in Case::value_variants() {
            let name = case.to_possible_value().map_or_else(String::new, |it| it.get_name().into());
            if !is_meant(&name) {
                continue;
            }
            let mut points = Vec::new();
            let mut row = String::new();
            for size in &self.sizes {
                let [prepared, whole] =
                    ["prepare", "run"].map(|part| instructions(&program, &name, *size, part));
                let counted = whole?.saturating_sub(prepared?).max(1) as f64;
                row.push_str(&format!("{:>10.2}", counted / 1e6));
                points.push(Point { objects: (*size as f64).ln(), instructions: counted.ln() });
            }
            let last = points.len().saturating_sub(2);
            let exponents = [slope(&points), slope(&points[last..])];
            println!("{name:<22}{row}{:>8.2}{:>8.2}", exponents[0], exponents[1]);
            if exponents.iter().any(|exponent| *exponent >= self.limit) {
                over.push(name);
            }
        }
        if over.is_empty() {
            return Ok(0);
        }
        Err(Error::Claim(format!(
            "these grow with exponent {} or more: {}",
            self.limit,
            over.join(", ")
        )))
    }
}

/// Arguments of the program that valgrind runs.
#[derive(Args)]
pub(crate) struct GrowthCase {
    case: Case,
    objects: usize,
    part: Part,
}

/// How much of a case is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The states are prepared.
    Prepare,
    /// The operation is executed, too.
    Run,
}

impl GrowthCase {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let operation = self.case.prepare(self.objects)?;
        if self.part == Part::Run {
            operation()?;
        } else {
            // Dropping the states is none of the operation's work either.
            std::mem::forget(operation);
        }
        Ok(0)
    }
}

/// A measurement, both as natural logarithms.
struct Point {
    objects: f64,
    instructions: f64,
}

/// The slope of the line that fits the points best: the exponent of the growth.
fn slope(points: &[Point]) -> f64 {
    let number = points.len() as f64;
    let mean = |value: fn(&Point) -> f64| points.iter().map(value).sum::<f64>() / number;
    let (objects, instructions) = (mean(|it| it.objects), mean(|it| it.instructions));
    let both = points.iter().map(|it| (it.objects - objects) * (it.instructions - instructions));
    let square = points.iter().map(|it| (it.objects - objects).powi(2));
    both.sum::<f64>() / square.sum::<f64>()
}

/// Counts the instructions of a part of a case, that of a whole process.
fn instructions(
    program: &std::path::Path,
    case: &str,
    objects: usize,
    part: &str,
) -> Result<u64, Error> {
    let name = "valgrind";
    let mut command = Command::new(name);
    command.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
    command.arg(program).args(["growth-case", case, &objects.to_string(), part]);
    let output = command.output().map_err(|error| Error::Start(name.to_owned(), error))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(Error::Claim(format!("{case} with {objects} objects: {text}")));
    }
    counted(&text).ok_or_else(|| Error::Claim(format!("no count of instructions: {text}")))
}

/// Reads `==1== I refs: 1,234,567`.
fn counted(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("I refs") || line.contains("I   refs"))?;
    let (_, number) = line.rsplit_once(':')?;
    number.trim().replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_the_exponent() {
        for exponent in [0.0, 1.0, 2.0] {
            let point =
                |size: f64| Point { objects: size.ln(), instructions: size.powf(exponent).ln() };
            let points = [100.0, 1_000.0, 10_000.0].map(point);
            assert!((slope(&points) - exponent).abs() < 1e-9, "{exponent}");
        }
    }

    #[test]
    fn the_count_of_valgrind_is_read() {
        let text = "==7== Cachegrind\n==7== I refs:        2,345,678\n";
        assert_eq!(counted(text), Some(2_345_678));
        assert_eq!(counted("==7== I   refs:      12\n"), Some(12));
        assert_eq!(counted("nothing"), None);
    }

    #[test]
    fn each_case_runs() {
        for case in Case::value_variants() {
            let operation = case.prepare(7).unwrap_or_else(|_| panic!("{case:?}"));
            operation().unwrap_or_else(|error| panic!("{case:?}: {error:?}"));
        }
    }
}
