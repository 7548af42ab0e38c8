"""`social chaos`: a seeded run that breaks what can break, and counts what came through.

engines    private MariaDB and Redis servers that can be killed, frozen and started again
proxy      a TCP proxy between any two parts: latency, stall, silence, cut, slow reader; `resp` for publishes
site       the product as supervised processes, each behind proxies of its own
schedule   which fault when, from the seed alone; `nemesis` carries it out
writers    people who write, and ask again with the same key until they are answered
readers    clients that follow the contract to the letter and note every frame
checker    the ledgers -> lost, duplicated, reordered, silent gaps, unexpected, times to heal; `report` prints
sabotage   the product with one protection taken out: a checker that finds nothing there is no checker
"""
