// The page that natsd shows of itself.

import { main, same, withPage, withServer } from "./harness.mjs";

await main({
  "the page opens, and nothing is fetched from elsewhere": () =>
    withServer(["-m", "-1"], async (server) => {
      const origin = `http://${server.monitor}`;
      await withPage([origin], {}, async (page, seen) => {
        // No icon yet.
        seen.expected.push(/favicon\.ico/);
        const answer = await page.goto(`${origin}/`);
        same(answer.status(), 200, "status");
        await page.getByRole("heading", { name: "natsd" }).waitFor();
      });
    }),
});
