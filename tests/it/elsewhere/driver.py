# Runs the guide's Python program: a line of JSON asks for a call, a line says what came of it.
import json, sys, time

import verify

advanced, monotonic = 0, time.monotonic
time.monotonic = lambda: monotonic() + advanced

for line in sys.stdin:
    call, *values = json.loads(line)
    try:
        if call == "verify":
            claims = verify.verify(*values)
            outcome = f"{claims['sub']} {','.join(claims['roles'])}"
        elif call == "authorize":
            outcome = f"{verify.authorize(*values)['subject']} may"
        else:
            advanced += values[0]
            outcome = "undefined"
    except verify.Refusal as refusal:
        headers = refusal.headers
        outcome = f"{refusal.status} {headers.get('WWW-Authenticate') or 'Retry-After: ' + headers['Retry-After']}"
    print(outcome, flush=True)
