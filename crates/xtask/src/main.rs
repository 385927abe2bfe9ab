//! The project's tasks, each in a file of its own: `cargo xtask TASK`.
//!
//! This program prints; the lab, a library, only returns results.

#![allow(clippy::print_stderr, clippy::print_stdout)]

mod bench;
mod demo;
mod dist;
mod docs;
mod error;
mod floor;
mod growth;
mod hostile;
mod kernel;
mod lab;
mod large_table;
mod load_test;
mod long_test;
mod pgo;
mod soak;
mod sweep;
mod test;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::error::Error;

/// The project's tasks.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Measure whole programs against ipvsadm, on a real kernel
    Bench(bench::Bench),
    /// The part of `bench` that runs in the guest
    #[command(hide = true)]
    BenchTable(bench::BenchTable),
    /// Show the classic DR experiment: plan, apply, traffic, a change, an explained error
    Demo(demo::Demo),
    /// Build the released program, one static file, and print its path
    Dist(dist::Dist),
    /// The part of `demo` that runs in the guest
    #[command(hide = true)]
    DemoScript(demo::DemoScript),
    /// Build the documentation as a book, check its links, and print its path
    Docs(docs::Docs),
    /// Measure how evenkeel's own work grows with the number of objects, and print the exponents
    Growth(growth::Growth),
    /// The part of `growth` that valgrind runs
    #[command(hide = true)]
    GrowthCase(growth::GrowthCase),
    /// Measure how long VIPs are missing while everything hostile to the daemon happens at once
    Hostile(hostile::Hostile),
    /// Run a command, or a shell, in a real kernel with IPVS
    Lab(lab::Lab),
    /// Measure the effect of re-configurations on clients, on a real kernel
    Load(load_test::Load),
    /// The workload that is run while a profile is recorded
    #[command(hide = true)]
    Record(pgo::Record),
    /// Run the daemon under all disturbances at once, on a real kernel, and check for leaks
    Soak(soak::Soak),
    /// Run a long series of tests on a real kernel: faults of a spec's files, or what the options name
    Sweep(sweep::Sweep),
    /// Run all tests, those that need a real kernel in the lab
    Test(test::Test),
    /// The lab's guest: its kernel, and its process 1
    #[command(hide = true)]
    LabStage {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            error.print();
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<u8, Error> {
    match task {
        Task::Bench(bench) => bench.run(),
        Task::BenchTable(table) => table.run(),
        Task::Demo(demo) => demo.run(),
        Task::Dist(dist) => dist.run(),
        Task::DemoScript(script) => script.run(),
        Task::Docs(docs) => docs.run(),
        Task::Growth(growth) => growth.run(),
        Task::GrowthCase(case) => case.run(),
        Task::Hostile(hostile) => hostile.run(),
        Task::Lab(lab) => lab.run(),
        Task::Load(load) => load.run(),
        Task::Record(record) => record.run(),
        Task::Soak(soak) => soak.run(),
        Task::Sweep(sweep) => sweep.run(),
        Task::Test(test) => test.run(),
        Task::LabStage { arguments } => match evenkeel_lab::stage(&arguments)? {},
    }
}
