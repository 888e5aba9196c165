//! Names of the kernel, typed: on the machine itself and over the link, those of this boot and of no other.
use lab::{Machine, Mode, Prompt};
use std::time::{Duration, Instant};
use tests::{Result, at_prompt};

/// What the system itself lists that fits a pattern of awk's, as `x` shows it: the kind in lower case.
fn listed(machine: &mut Machine, fits: &str) -> Result<Vec<String>> {
    let text = machine.ok(&format!("awk '{fits}' /proc/kallsyms"))?;
    Ok(text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let module = words.get(3).map_or(String::new(), |module| format!("{}!", module.trim_matches(['[', ']'])));
            format!("{} {}  {module}{}", words[0], words[1].to_lowercase(), words[2])
        })
        .collect())
}

fn found(kd: &mut Prompt, line: &str) -> Result<Vec<String>> {
    let answer = kd.type_line(line)?;
    Ok(answer
        .lines
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (address, rest) = line.split_at(17.min(line.len()));
            format!("{address}{}{}", rest.get(..1).unwrap_or("").to_lowercase(), rest.get(1..).unwrap_or(""))
        })
        .collect())
}

#[test]
fn names_come_out_of_the_memory_of_a_halted_machine() -> Result {
    let mut machine = Machine::builder().with_kernel_module("msr").boot()?;
    machine.load(Mode::Debugger)?;
    let getppid = listed(&mut machine, "/getppid/")?;
    println!("{getppid:#?}");
    let mut kd = machine.debugger(&["--pause"])?;
    kd.set_limit(Duration::from_secs(300));
    let begun = Instant::now();
    println!("{:?}", kd.type_line(".sym reload")?.text());
    println!("fetched in {:?}", begun.elapsed());
    println!("{:?}", found(&mut kd, "x *getppid*")?);
    println!("{}", kd.type_line("lm")?.text());
    let _ = at_prompt::wait_running;
    Ok(())
}
