"""Routes of settings."""

from fastapi import APIRouter

router = APIRouter()
