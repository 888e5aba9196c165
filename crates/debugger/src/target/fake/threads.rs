//! The model's threads: one process of two, whose registers lie in RAM, and one place to be had.

use super::{Answered, Root, memory};
use abi::code;
use abi::request::thread::{Ask, Order, Ordered, Row, Threads, order, stage, state};
use abi::request::{self, Number};
use script::oracle::RAM;
use zerocopy::{FromZeros, IntoBytes};

/// The process, which is its first thread's number, too.
const PROCESS: u32 = memory::PID;
const THREADS: u32 = 2;
/// Where the registers of the first lie; the others' behind them.
const FRAME: u64 = RAM + 0x800;
const FRAME_BYTES: u64 = 0x100;
/// Of the instruction pointer, and the stack pointer.
const RIP: u64 = 8 * 16;
const RSP: u64 = 8 * 19;

const MALFORMED: (u32, Vec<u8>) = (code::REQUEST_MALFORMED, Vec::new());

/// What is known of them.
#[derive(Clone, Debug, Default)]
pub struct Known {
    rows: Vec<Row>,
    done: Ordered,
}

impl Root {
    fn frame_word(&mut self, at: u64, value: Option<u64>) -> u64 {
        let offset = usize::try_from(at - RAM).unwrap_or(0);
        let Some(word) = self.events.ram().get_mut(offset..offset + 8) else { return 0 };
        if let Some(value) = value {
            word.copy_from_slice(&value.to_le_bytes());
        }
        u64::from_le_bytes(<[u8; 8]>::try_from(word).unwrap_or_default())
    }

    fn attach(&mut self, held: u32) {
        for nth in 0..THREADS {
            let frame = FRAME + u64::from(nth) * FRAME_BYTES;
            self.frame_word(frame + RIP, Some(0xffff_ffff_8100_0000));
            self.frame_word(frame + RSP, Some(0x7fff_ffff_e000));
            let mut row = Row { place: nth, process: PROCESS, thread: PROCESS + nth, state: held, frame, ..Row::default() };
            row.task = 0xffff_8881_0000_0000;
            row.holds = 1;
            row.name[..4].copy_from_slice(b"busy");
            self.threads.rows.push(row);
        }
    }

    fn carry_out(&mut self, order: Order) -> (u32, u64) {
        let there = self.threads.rows.iter().any(|row| row.process == order.process);
        match order.what {
            order::ATTACH | order::ATTACH_AT_EXEC if there => return (code::ATTACHED_ALREADY, 0),
            order::ATTACH | order::ATTACH_AT_EXEC if order.process != PROCESS => return (code::PID_INVALID, 0),
            order::ATTACH => {
                self.attach(state::HELD);
                return (code::SUCCESS, THREADS.into());
            }
            order::ATTACH_AT_EXEC => {
                // It executes the program at once.
                self.attach(state::HELD);
                return (code::SUCCESS, THREADS.into());
            }
            _ if !there => return (code::NOT_ATTACHED, 0),
            order::DETACH | order::KILL => {
                self.threads.rows.clear();
                return (code::SUCCESS, 0);
            }
            _ => {}
        }
        let mut about = 0;
        for nth in 0..self.threads.rows.len() {
            let row = &mut self.threads.rows[nth];
            if order.thread != 0 && order.thread != row.thread {
                continue;
            }
            about += 1;
            match order.what {
                order::HOLD => row.state = state::HELD,
                order::LET => row.state = state::RUNS,
                _ if row.state != state::HELD => return (code::THREAD_NOT_HELD, 0),
                _ => {
                    row.stepped += order.count;
                    let at = row.frame + RIP;
                    for _ in 0..order.count {
                        let rip = self.frame_word(at, None);
                        self.frame_word(at, Some(rip + self.length_at(rip)));
                    }
                }
            }
        }
        (if about == 0 { code::NO_SUCH_THREAD } else { code::SUCCESS }, about)
    }

    pub(super) fn order(&mut self, body: &[u8]) -> Answered {
        let order = request::body::<Order>(body).ok_or(MALFORMED)?;
        let (code, number) = self.carry_out(order);
        let serial = self.threads.done.serial + 1;
        self.threads.done = Ordered { serial, stage: stage::DONE, code, number };
        Ok(self.threads.done.as_bytes().to_vec())
    }

    pub(super) fn ordered(&self, body: &[u8]) -> Answered {
        let serial = request::body::<Number>(body).ok_or(MALFORMED)?;
        if serial.value == self.threads.done.serial { Ok(self.threads.done.as_bytes().to_vec()) } else { Err(MALFORMED) }
    }

    pub(super) fn all_threads(&self, body: &[u8]) -> Answered {
        let ask = request::body::<Ask>(body).ok_or(MALFORMED)?;
        let mut threads = Threads::new_zeroed();
        let fits = |asked, is| asked == 0 || asked == is;
        for row in self.threads.rows.iter().filter(|row| fits(ask.process, row.process) && fits(ask.thread, row.thread)) {
            threads.states[row.state as usize] += 1;
            if row.place >= ask.from && threads.count < ask.rows {
                threads.rows[threads.count as usize] = *row;
                threads.count += 1;
            }
        }
        Ok(threads.as_bytes().to_vec())
    }
}
