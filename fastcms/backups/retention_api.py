"""Routes of retention."""

from fastapi import APIRouter

router = APIRouter()
