#!/bin/bash
# One run on several machines under SLURM:
#
#   sbatch configs/cluster/slurm.sh run configs/mine.yaml --seeds 5 --out /shared/runs/mine
#
# and so is what is made of it:
#
#   sbatch configs/cluster/slurm.sh twin /shared/runs/mine --answers few.csv --out /shared/twins
#   sbatch configs/cluster/slurm.sh aggregate /shared/runs/mine/population --out /shared/answers.csv
#   sbatch configs/cluster/slurm.sh sample /shared/runs/mine --aggregate --agents 1000000000 --out /shared/counts
#
# --out (and the study's tables, and reference.cache) must lie on a disk that all nodes share. The
# processes find each other through SLURM's own variables. A job that is preempted, or hits its time
# limit, is continued by the same command.
#SBATCH --job-name=crowdllm
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=02:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue

set -euo pipefail
# If one process fails, the others end within seconds (exit code 3); --kill-on-bad-exit makes sure.
exec srun --kill-on-bad-exit=1 crowdllm "$@" --distributed --wait 300
