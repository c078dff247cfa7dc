"""Has a clamd on a port of 127.0.0.1 scan a file, with asyncio: `python3 clamd_asyncio.py 3310 some.file`.

The exit code is that of clamdscan: 0 for clean, 1 for infected, 2 for an error. It needs arguments, so it is run by
test/examples.test.ts.
"""
# #region program
import asyncio
import re
import sys

CHUNK = 64 * 1024


async def send(path, writer):
    writer.write(b"zINSTREAM\0")
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            writer.write(len(chunk).to_bytes(4, "big") + chunk)
            await writer.drain()
    writer.write(bytes(4))


async def ask(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    # A reader whose connection breaks forgets what has arrived, so somebody has to wait for the reply from the start.
    reply = asyncio.create_task(reader.readuntil(b"\0"))
    sending = asyncio.create_task(send(path, writer))
    try:
        done, _ = await asyncio.wait([reply, sending], return_when=asyncio.FIRST_COMPLETED)
        if reply not in done and (error := sending.exception()) is not None:
            if not isinstance(error, ConnectionError):
                raise error
        return (await reply)[:-1].decode()
    finally:
        reply.cancel()
        sending.cancel()
        writer.transport.abort()


async def main(port, path, seconds="30"):
    try:
        async with asyncio.timeout(float(seconds)):
            reply = await ask(int(port), path)
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        reply = repr(error)
    if reply == "stream: OK":
        print("clean")
    elif found := re.fullmatch("stream: (.+) FOUND", reply):
        print("infected:", found[1])
        sys.exit(1)
    else:
        print("error:", reply)
        sys.exit(2)


asyncio.run(main(*sys.argv[1:]))
# #endregion
