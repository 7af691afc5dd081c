"""Prints a file of figures (JSON lines from `measure`) as the rows of the README's tables."""

import json
import statistics
import sys


def main():
    with open(sys.argv[1]) as file:
        figures = [json.loads(line) for line in file]

    def of(name):
        return [f for f in figures if f["figure"] == name]

    if of("load"):
        print("| case | max_talkers | CPU ms/participant·s | RSS KB/participant | pps min | max gap ms | audible % |")
        print("|---|---|---|---|---|---|---|")
    for f in of("load"):
        rooms = f"1 room × {f['n']}" if f["rooms"] == 1 else f"{f['rooms']} rooms × {f['n'] // f['rooms']}"
        print(
            f"| {f['codec']}, {rooms} | {f['max_talkers']} | {f['cpu_ms_per_participant_s']:.2f} "
            f"| {f['rss_kb_per_participant']:.0f} | {f['rx_pps_leg_min']:.2f} | {f['max_gap_ms']:.0f} | {f['audible_pct']:.0f} |"
        )
    print("\n| what | measured |\n|---|---|")
    for f in of("delay"):
        print(f"| mouth to ear, {f['codec']}, p50 / max | {f['p50_ms']} / {f['max_ms']} ms ({f['chirps']} chirps, {f['missing']} missing) |")
    for f in of("stall"):
        print(
            f"| after a 2 s stall, {f['codec']} | base {f['base_ms']}, at most {f['max_after_ms']} ms, "
            f"back (base + 20 ms) after {f['back_after_s']} s |"
        )
    for f in of("drift"):
        print(f"| +{f['ppm']:.0f} ppm, {f['codec']} | base {f['base_ms']} ms, at most {f['max_above_base_ms']} ms above it |")
    speech = [f for f in of("speech") if "pesq" in f]
    for codec in dict.fromkeys(f["codec"] for f in speech):
        own = [f for f in speech if f["codec"] == codec]
        losses = sorted({f["loss_percent"] for f in own})
        scores = [statistics.median(f["pesq"] for f in own if f["loss_percent"] == loss) for loss in losses]
        runs = len(own) // len(losses)
        print(
            f"| PESQ {own[0]['mode']}, {codec}, {' / '.join(f'{x:.0f}' for x in losses)} % loss "
            f"| {' / '.join(f'{s:.2f}' for s in scores)} (median of {runs}) |"
        )
    invites = of("invites")
    if invites:
        middle = sorted(invites, key=lambda f: f["p95_ms"])[len(invites) // 2]
        resent = sum(f["resent_requests"] + f["resent_answers"] for f in invites)
        print(f"| {middle['n']} INVITEs at once, p50 / p95 | {middle['p50_ms']:.0f} / {middle['p95_ms']:.0f} ms, {resent} resent in {len(invites)} runs |")
    for f in of("pacing"):
        print(f"| packets a second, longest gap | {f['pps_min']}, {f['max_gap_ms']} ms ({f['legs']} legs) |")
    for f in of("crash"):
        print(f"| kill −9 while recording, lost | at most {f['worst_s']} s of {len(f['lost_s'])} times |")
    for f in of("idle"):
        print(f"| {f['rooms']} rooms with nobody in them | {f['percent_of_a_core']} % of a core, {f['rss_kb'] / 1024:.0f} MB |")
    for rooms, lists in dict.fromkeys((f["rooms"], f["lists"]) for f in of("api")):
        own = sorted((f for f in of("api") if (f["rooms"], f["lists"]) == (rooms, lists)), key=lambda f: f["requests_per_s"])
        middle = own[len(own) // 2]
        print(
            f"| lists of the API ({lists}), {rooms} rooms, {middle['participants']} people, {middle['clients']} clients "
            f"| {middle['requests_per_s']:.0f} requests/s, p50 / p99 {middle['p50_ms']:.1f} / {middle['p99_ms']:.1f} ms |"
        )
    for f in of("video"):
        size = "720p15" if "1280x720" in f["video"] else "360p15"
        recorded = ", recorded" if f["recorded"] else ""
        print(
            f"| {f['n']} × {size} in, {f['layout']}{recorded} | {f['cpu_ms_per_s'] / 1000:.2f} of a core, "
            f"{f['fps_leg']:.1f} pictures/s and {f['kbps_leg']:.0f} kbit/s to each |"
        )
    for f in of("video_additions"):
        more = (f["recorded_ms_per_s"] / f["plain_ms_per_s"] - 1) * 100
        recorder = f["recorded_ms_per_s_of_threads"].get("recorder", 0)
        print(f"| recorded as well, with a listener | {more:+.1f} %; the recorder's threads {recorder} ms/s |")
        print(f"| {f['viewers']} viewers more | {f['ms_per_viewer_and_s']:.2f} ms/s each |")
    for f in of("glass_to_glass"):
        print(
            f"| glass to glass at 30 pictures/s, p50 / p99 / max | {f['p50_ms']:.0f} / {f['p99_ms']:.0f} / {f['max_ms']:.0f} ms "
            f"({f['turns']} changes, {f['missing']} missing) |"
        )
    if of("api_ticks"):
        print(f"| ticks skipped meanwhile | {sum(f['skipped'] for f in of('api_ticks')):.0f} |")


main()
