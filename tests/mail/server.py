"""A mail server that keeps what it gets: server.py PORT DIRECTORY [CERTIFICATE KEY USER PASSWORD].

Each accepted mail becomes DIRECTORY/NUMBER.json: who it was for, and what Python's own mail parser and the package
`icalendar` make of it. With a certificate, mail is taken only after STARTTLS and a sign-in. It refuses for ever a
recipient whose name begins with "nobody", and for now, as long as there is a file DIRECTORY/busy, everything else. It ends
when its standard input does.
"""

import asyncio
import email
import email.policy
import json
import os
import ssl
import sys

import icalendar
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

port, directory, *more = sys.argv[1:]


def text(value):
    return None if value is None else str(value)


def entry(part):
    """The calendar part, as an independent parser reads it; it refuses what is not iCalendar."""
    calendar = icalendar.Calendar.from_ical(part.get_payload(decode=True))
    (event,) = calendar.walk("VEVENT")
    assert not calendar.errors and not event.errors, (calendar.errors, event.errors)
    attendees = event.get("ATTENDEE")
    return {
        "content_method": part.get_content_type() == "text/calendar" and part.get_param("method"),
        "method": text(calendar.get("METHOD")),
        "version": text(calendar.get("VERSION")),
        "uid": text(event["UID"]),
        "sequence": int(event["SEQUENCE"]),
        "status": text(event.get("STATUS")),
        "summary": text(event.get("SUMMARY")),
        "description": text(event.get("DESCRIPTION")),
        "location": text(event.get("LOCATION")),
        "url": text(event.get("URL")),
        "start": event.decoded("DTSTART").isoformat(),
        "end": event.decoded("DTEND").isoformat(),
        "organizer": text(event.get("ORGANIZER")),
        "organizer_name": text(event["ORGANIZER"].params.get("CN")),
        "attendees": [text(one) for one in (attendees if isinstance(attendees, list) else [attendees])],
    }


def kept(envelope):
    mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
    parts = [part for part in mail.walk() if not part.is_multipart()]
    assert not mail.defects and not any(part.defects for part in mail.walk()), mail.defects
    bodies = {part.get_content_type(): part for part in parts}
    calendars = {kind: entry(part) for kind, part in bodies.items() if kind in ("text/calendar", "application/ics")}
    return {
        "sender": envelope.mail_from,
        "recipients": envelope.rcpt_tos,
        "headers": {name: [str(value) for value in mail.get_all(name)] for name in mail.keys()},
        "structure": [part.get_content_type() for part in mail.walk()],
        "plain": bodies["text/plain"].get_content(),
        "html": bodies["text/html"].get_content(),
        "calendar": calendars.get("text/calendar"),
        "file": calendars.get("application/ics"),
        "file_name": next((part.get_filename() for part in parts if part.get_filename()), None),
    }


class Keeper:
    """What the server does with what it is given."""

    def __init__(self):
        self.number = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 5.1.1 no such user"
        if os.path.exists(os.path.join(directory, "busy")):
            return "451 4.7.1 come again later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        self.number += 1
        try:
            value = kept(envelope)
        except Exception as error:  # The test reads it.
            value = {"recipients": envelope.rcpt_tos, "error": repr(error), "raw": envelope.content.decode(errors="replace")}
        path = os.path.join(directory, f"{self.number:04}.json")
        with open(path + ".unfinished", "w") as file:
            json.dump(value, file)
        os.rename(path + ".unfinished", path)
        return "250 2.0.0 kept"


options = {}
if more:
    certificate, key, user, password = more
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def authenticator(server, session, envelope, mechanism, data):
        fits = (data.login, data.password) == (user.encode(), password.encode())
        return AuthResult(success=fits, handled=False)

    options = {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": authenticator}
controller = Controller(Keeper(), hostname="127.0.0.1", port=int(port), **options)
controller.start()
print("ready", flush=True)
sys.stdin.read()
controller.stop()
