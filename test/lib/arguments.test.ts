import { addressTable, coreTable } from '../arguments/core.ts';
import { connectionTable } from '../arguments/connections.ts';
import { loggingTable } from '../arguments/logging.ts';
import { faultsOf } from '../wrong-arguments.ts';
import t from '../fixture.ts';

for (const [what, table] of Object.entries({
  addressTable,
  coreTable,
  connectionTable,
  loggingTable,
})) {
  t.test(
    `FND-36: ${what}: a wrong argument is an error that names it, where it is given`,
    async (t) => {
      for (const one of table()) t.strictSame(await faultsOf(one), [], one.name);
    },
  );
}
