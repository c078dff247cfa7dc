"""Two naps at once, with asyncio: a sleep that does not block."""
# #region program
import asyncio


async def nap(name, seconds):
    print(f"{name}: asleep")
    await asyncio.sleep(seconds)
    print(f"{name}: awake after {seconds} seconds")


async def main():
    await asyncio.gather(nap("long", 0.2), nap("short", 0.1))


asyncio.run(main())
# #endregion
