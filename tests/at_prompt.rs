//! Typing at a prompt in front of a machine that runs.

use crate::Result;
use lab::Prompt;

/// The prompt in front of a debuggee that runs.
const RUNNING: &str = "(running) HyperDbg>";

/// Types a line and Enter at [`RUNNING`]; the row at which it was typed. What is answered is waited for by
/// [`Prompt::answer_after`] if a halt is expected, or by [`Prompt::wait_text`].
///
/// # Errors
/// With the whole session if the prompt does not come or the line does not appear.
pub fn enter_running(prompt: &mut Prompt, line: &str) -> Result<usize> {
    let row = wait_running(prompt, 0)?;
    prompt.send(line.as_bytes())?;
    let row = prompt.wait_text(row, &format!("{RUNNING} {line}"))?;
    prompt.send(b"\r")?;
    Ok(row)
}

/// Waits for the prompt of a machine that runs, at the cursor and from this row on; the row where it is.
///
/// # Errors
/// As [`enter_running`].
pub fn wait_running(prompt: &mut Prompt, from: usize) -> Result<usize> {
    let mut row = prompt.wait_text(from, RUNNING)?;
    // An older prompt further up is not the one that waits.
    while row < prompt.row() {
        row = prompt.wait_text(row + 1, RUNNING)?;
    }
    Ok(row)
}
