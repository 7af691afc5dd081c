//! Measures a server binary the way the README's tables quote it: delay from mouth to ear, behaviour under a bad
//! network, call setup, packet pacing, CPU and memory. Each command starts its own server, prints one line of JSON for
//! each figure, and ends. `scripts/measure` runs them all and makes the table.

mod api;
mod calls;
mod delay;
mod load;
mod options;
mod speech;
mod video;
mod web;

use options::Options;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "measure COMMAND --binary FILE [options]
  delay    --codec pcmu|opus [--secs 60]               mouth to ear on a quiet network
  stall    --codec pcmu|opus [--stall-ms 2000]         a sender's stall and its backlog
  drift    --codec pcmu|opus [--secs 300] [--ppm 500]  a sender whose clock is fast
  speech   --codec pcmu|opus --loss PERCENT --voices A.wav,B.wav --seeds 1,2,3 --out DIR
                                                       speech through random loss, for PESQ
  invites  [--n 200]                                   INVITE to 200, all at once
  pacing   [--legs 8] [--secs 20]                      packets a second and the longest gap
  crash    [--times 5]                                 what a recording loses to kill -9
  load     --loadgen FILE --media FILE --codec pcmu|opus --rooms R --n N [--talkers T] [--runs 3] [--secs 20]
  api      --loadgen FILE --media FILE --codec pcmu [--rooms 1000] [--n 200] [--clients 4] [--secs 15]
                                                       lists of the API beside rooms full of people
  video    --loadgen FILE --media FILE --video FILE [--n 4] [--layout LAYOUT4] [--record true] [--runs 3] [--secs 20]
                                                       a VIDEO room, 1280x720 at 15 pictures a second and 1 Mbit/s
  additions --loadgen FILE --media FILE --codec opus --video FILE [--n 4] [--viewers 20] [--turns 3] [--secs 12]
                                                       what a recording and more viewers add to such a room
  glass    [--rounds 12] [--secs 6]                    from a camera through a room to another phone, 30 pictures a second
  idle     [--rooms 10000] [--secs 20]                 CPU of rooms that nobody is in
  web      [--n 200] [--talkers 8] [--runs 3] [--secs 20]
                                                       browsers in one room: CPU, memory, time to the first sound
  burst    [--n 1000]                                  joins of browsers all at once, beside a room that runs
--workers N gives the server so many media threads (default: one for each core)";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let outcome = Options::parse(arguments).and_then(|options| match command.as_str() {
        "delay" => delay::quiet(&options),
        "stall" => delay::stall(&options),
        "drift" => delay::drift(&options),
        "speech" => speech::record(&options),
        "invites" => calls::invites(&options),
        "pacing" => calls::pacing(&options),
        "crash" => calls::crash(&options),
        "load" => load::loadgen(&options),
        "api" => api::lists(&options),
        "video" => video::room(&options),
        "additions" => video::additions(&options),
        "glass" => video::glass(&options),
        "idle" => load::idle(&options),
        "web" => web::crowd(&options),
        "burst" => web::burst(&options),
        _ => Err(USAGE.to_owned()),
    });
    match outcome {
        Ok(figures) => {
            for figure in figures {
                // Nothing can be done about a closed standard output.
                let _ = writeln!(std::io::stdout(), "{figure}");
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}
